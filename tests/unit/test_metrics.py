"""The table of metrics."""

import pickle

from pipeline.metrics import Metric, Unit, table
from pipeline.metrics.table import (
    METRICS,
)


def test_table_is_whole():
    """Every metric of the module is in the table once, under a name of its own."""
    named = [each for each in vars(table).values() if isinstance(each, Metric)]

    assert list(METRICS) == named
    assert len({metric.name for metric in METRICS}) == len(METRICS) == 32


def test_names_say_the_unit():
    """A metric's name ends in its unit, unless it counts."""
    for metric in METRICS:
        ending = next((u for u in ("Bytes", "Seconds") if metric.name.endswith(u)), "Count")

        assert metric.unit == Unit(ending)


def test_metrics_survive_pickle():
    """A metric that crossed a process boundary is equal to the one that was sent."""
    assert pickle.loads(pickle.dumps(METRICS)) == METRICS

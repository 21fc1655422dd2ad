"""Instruments of OpenTelemetry: what reaches an SDK, and Prometheus through it."""

import re
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from programs import printed_by

from pipeline.metrics import Series, Unit
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.sinks.otel import BOUNDARIES, OpenTelemetrySink, instrument_name
from pipeline.metrics.table import (
    METRICS,
    PAYLOAD_BYTES,
    QUEUE_BACKLOG,
    RUN_SECONDS,
    TASKS_SUCCEEDED,
    WORKER_CONCURRENCY,
)


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def sink(reader):
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield OpenTelemetrySink(lambda: provider)
    provider.shutdown()


@pytest.fixture
def read(reader):
    """Return the metrics that the SDK has, by name."""

    def read():
        data = reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    return read


def points(metric):
    return {tuple(sorted(point.attributes.items())): point for point in metric.data.data_points}


def test_counts_become_counters(sink, read):
    """Counts add up over batches, each under its queue and task."""
    for _ in range(2):
        sink.emit([Series(TASKS_SUCCEEDED, "q", "t", {1: 20, 5: 1}), Series(TASKS_SUCCEEDED, "", "", {1: 1})])
    found = read()["claimcheck.tasks_succeeded"]

    assert found.data.is_monotonic
    assert {key: point.value for key, point in points(found).items()} == {
        (("queue", "q"), ("task", "t")): 50,
        (): 2,
    }


@pytest.mark.parametrize(
    ("metric", "name", "unit"),
    [(RUN_SECONDS, "claimcheck.run_seconds", "s"), (PAYLOAD_BYTES, "claimcheck.payload_bytes", "By")],
)
def test_sizes_and_durations_become_histograms(sink, read, metric, name, unit):
    """Every value counts as often as it was seen, in buckets of our own."""
    sink.emit([Series(metric, "q", "t", {0.25: 3, 2.0: 1})])
    found = read()[name]
    (point,) = found.data.data_points

    assert found.unit == unit
    assert (point.count, point.sum, point.min, point.max) == (4, 2.75, 0.25, 2.0)
    assert point.explicit_bounds == BOUNDARIES[metric.unit]


def test_levels_become_gauges(sink, read):
    """Of a level the last value stands, and the next batch replaces it."""
    sink.emit([Series(QUEUE_BACKLOG, "q", "", {7: 1, 5: 1}), Series(WORKER_CONCURRENCY, "q", "", {8: 2})])
    sink.emit([Series(QUEUE_BACKLOG, "q", "", {3: 1})])
    found = read()

    assert points(found["claimcheck.queue_backlog"])[("queue", "q"),].value == 3
    assert points(found["claimcheck.worker_concurrency"])[("queue", "q"),].value == 8


def test_the_whole_table_arrives(sink, read):
    """Every metric has an instrument, with its description."""
    sink.emit([Series(metric, "q", "t", {1: 1}) for metric in METRICS])

    assert {name: metric.description for name, metric in read().items()} == {
        instrument_name(metric): metric.description for metric in METRICS
    }


def test_boundaries_ascend():
    """Buckets are in order, and there are some for every unit that is no count."""
    assert BOUNDARIES.keys() == set(Unit) - {Unit.COUNT}
    assert all(list(bounds) == sorted(set(bounds)) for bounds in BOUNDARIES.values())


def test_without_an_sdk_nothing_happens():
    """The API alone takes everything and keeps nothing."""
    recorder = Recorder(OpenTelemetrySink())
    recorder.record(TASKS_SUCCEEDED)
    recorder.close()

    assert recorder._pending == {}


def test_a_child_has_a_provider_of_its_own():
    """A forked child that ends without atexit has exported what it recorded, and only that."""
    printed = printed_by("""
        import os
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from pipeline.metrics.recorder import Recorder
        from pipeline.metrics.table import TASKS_FAILED, TASKS_SUCCEEDED
        from pipeline.metrics import OpenTelemetrySink

        class Printer(MetricExporter):
            def export(self, data, timeout_millis=10_000, **kwargs):
                who = "parent" if os.getpid() == parent else "child"
                for scope in data.resource_metrics[0].scope_metrics:
                    for metric in scope.metrics:
                        for point in metric.data.data_points:
                            os.write(1, f"{who} {metric.name} {point.value}\\n".encode())
                return MetricExportResult.SUCCESS

            def shutdown(self, timeout_millis=30_000, **kwargs):
                pass

            def force_flush(self, timeout_millis=10_000):
                return True

        def provider():
            reader = PeriodicExportingMetricReader(Printer(), export_interval_millis=3_600_000)
            return MeterProvider([reader], shutdown_on_exit=False)

        parent = os.getpid()
        recorder = Recorder(OpenTelemetrySink(provider))
        recorder.record(TASKS_SUCCEEDED)
        recorder.flush()
        child = os.fork()
        if not child:
            recorder.record(TASKS_FAILED)
            recorder.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        recorder.record(TASKS_SUCCEEDED)
    """)

    assert printed.splitlines() == [
        "parent claimcheck.tasks_succeeded 1",
        "child claimcheck.tasks_failed 1",
        "parent claimcheck.tasks_succeeded 2",
    ]


def test_prometheus_shows_it():
    """Through OpenTelemetry's exporter a page for Prometheus has the usual names, units and kinds."""
    printed = printed_by("""
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.metrics import set_meter_provider
        from opentelemetry.sdk.metrics import MeterProvider
        from prometheus_client import REGISTRY, generate_latest
        from pipeline.metrics.recorder import Recorder
        from pipeline.metrics.table import PAYLOAD_BYTES, QUEUE_BACKLOG, RUN_SECONDS, TASKS_FAILED
        from pipeline.metrics import OpenTelemetrySink

        set_meter_provider(MeterProvider([PrometheusMetricReader(scope_info_enabled=False)]))
        recorder = Recorder(OpenTelemetrySink())
        for metric in (PAYLOAD_BYTES, QUEUE_BACKLOG, RUN_SECONDS, TASKS_FAILED):
            recorder.record(metric, 3, queue="q")
        recorder.flush()
        print(generate_latest(REGISTRY).decode())
    """)
    shown = dict(re.findall(r"^# TYPE (claimcheck_\w+) (\w+)$", printed, re.MULTILINE))

    assert shown == {
        "claimcheck_payload_bytes": "histogram",
        "claimcheck_queue_backlog": "gauge",
        "claimcheck_run_seconds": "histogram",
        "claimcheck_tasks_failed_total": "counter",
    }
    assert 'claimcheck_tasks_failed_total{queue="q"} 3.0' in printed


PAGE = (Path(__file__).parents[2] / "docs" / "operate" / "metrics.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
PREFACE = """
from os import getpid
from socket import gethostname
from celery import Celery
import pipeline
app = Celery("sample_app", broker="memory://")
"""


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_on_the_page_work(example, run_forked, tmp_path):
    """Each example runs as it stands, on a free port, with the console where it exports over the network."""
    otlp = "opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter"
    console = "opentelemetry.sdk.metrics.export import ConsoleMetricExporter as OTLPMetricExporter"
    recorded = "claimcheck.recorder.record(pipeline.metrics.table.TASKS_FAILED)"
    source = example.replace(otlp, console).replace("9464", "0")
    source = source.replace("pipeline.install", "claimcheck = pipeline.install")
    done = run_forked(f"{PREFACE}{source}\n{recorded}\nclaimcheck.recorder.flush()\n", tmp_path)

    assert done.returncode == 0, done.stderr
    assert ("Prometheus" in example) or re.search("TasksFailed|claimcheck.tasks_failed", done.stdout)


def test_there_are_examples():
    """The page shows each sink once."""
    assert len(EXAMPLES) == 3

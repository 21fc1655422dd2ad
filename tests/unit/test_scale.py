"""The calculation of docs/explanation/scale.md."""

import pytest

from benchmarks.scale import report
from benchmarks.scale.limits import LIMITS, SMALL
from benchmarks.scale.model import Point, waiting


def test_the_page_has_the_tables_that_are_computed():
    """The tables of the page are those of the model, its measured times and the quotas."""
    text = report.PAGE.read_text()

    assert text == report.page(text)


@pytest.mark.parametrize(
    ("processes", "load", "expected"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (10, 7.0, 0.2217)]
)
def test_the_formula_is_erlangs(processes, load, expected):
    """The share of tasks that wait is that of textbooks."""
    assert waiting(processes, load) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_a_limit_bites_where_demand_reaches_its_quota(limit):
    """Below its rate tasks need less than a quota, above it more."""
    assert limit.demand(Point(limit.workload, limit.rate * 0.99)) < limit.quota
    assert limit.demand(Point(limit.workload, limit.rate * 1.01)) > limit.quota


def test_workers_grow_with_the_rate_and_latency_does_not():
    """Enough workers keep the wait short at each rate."""
    points = [Point(SMALL, rate) for rate in report.RATES]

    assert [point.workers for point in points] == sorted(point.workers for point in points)
    assert all(point.latency_seconds < 0.2 for point in points)

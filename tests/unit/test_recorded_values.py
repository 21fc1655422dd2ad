"""Values that a recorder keeps: exact, in bounded memory, and without what no sink takes."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from list_sink import ListSink

from pipeline.metrics.recorder import EXACT_VALUES, OTHER, VALUES_PER_SERIES, Recorder
from pipeline.metrics.table import (
    DATA_DROPPED,
    PAYLOAD_BYTES,
    QUEUE_BACKLOG,
    RUN_SECONDS,
    TASKS_FAILED,
)


@given(st.lists(st.integers(0, 2**40), max_size=1000))
def test_bytes_keep_their_sum(sizes):
    """Sizes are emitted exactly, each as often as it was recorded."""
    sink = ListSink()
    recorder = Recorder(sink)
    for size in sizes:
        recorder.record(PAYLOAD_BYTES, size)
    recorder.close()

    emitted = sum((Counter(s.values) for s in sink.series), Counter())
    assert emitted == Counter(sizes)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_seconds_keep_three_digits(durations):
    """Durations keep their number, and their sum to half a percent."""
    sink = ListSink()
    recorder = Recorder(sink)
    for duration in durations:
        recorder.record(RUN_SECONDS, duration)
    recorder.close()

    assert sink.count(RUN_SECONDS) == len(durations)
    assert sink.total(RUN_SECONDS) == pytest.approx(sum(durations), rel=0.005)


def test_series_are_bounded(sink, recorder):
    """More distinct values than one series may hold make several series of the same batch."""
    for size in range(2 * VALUES_PER_SERIES + 1):
        recorder.record(PAYLOAD_BYTES, size, queue="q", task="t")
    recorder.flush()

    assert len(sink.batches) == 1
    assert [len(series.values) for series in sink.series] == [150, 150, 1]
    assert {(series.queue, series.task) for series in sink.series} == {("q", "t")}


def test_distinct_values_are_bounded(sink, recorder):
    """However many distinct sizes there are, memory stays bounded, and their number is kept."""
    for size in range(10**6, 10**6 + 50_000):
        recorder.record(PAYLOAD_BYTES, size)
    recorder.flush()

    assert sum(len(series.values) for series in sink.series) < EXACT_VALUES + 900
    assert sink.count(PAYLOAD_BYTES) == 50_000
    assert sink.total(PAYLOAD_BYTES) == pytest.approx(50_000 * 1_024_999.5, rel=0.005)


def test_tasks_and_queues_are_bounded(sink):
    """Beyond the limit, new tasks and queues are recorded as one; those known before stay apart."""
    recorder = Recorder(sink, task_limit=2, queue_limit=1)
    for task in ("a", "b", "c", "d", "a", ""):
        recorder.record(TASKS_FAILED, queue="q", task=task)
    recorder.record(TASKS_FAILED, queue="r", task="a")
    recorder.close()

    assert {s.task for s in sink.series} == {"a", "b", OTHER, ""}
    assert sink.total(TASKS_FAILED, task=OTHER) == 2
    assert sink.total(TASKS_FAILED, queue=OTHER, task="a") == 1


def test_levels_end_with_the_last(sink, recorder):
    """Of a level that came back to a value of before, the last value is the last of its series."""
    for depth in (5, 7, 5):
        recorder.record(QUEUE_BACKLOG, depth, queue="q")
    recorder.flush()

    (series,) = sink.series
    assert list(series.values.items()) == [(7, 1), (5, 2)]


@pytest.mark.parametrize(
    "call",
    [
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": 10**400},
        {"value": 2.0**361},
        {"value": None},
        {"value": "1"},
        {"task": None},
        {"queue": ["unhashable"]},
        {"metric": "RunSeconds"},
    ],
)
def test_nonsense_is_dropped_alone(sink, recorder, call):
    """What no sink could take is counted as dropped, and spoils nothing else."""
    recorder.record(**{"metric": RUN_SECONDS, **call})
    recorder.record(TASKS_FAILED)
    recorder.flush()

    assert sink.total(DATA_DROPPED) == 1
    assert {series.metric for series in sink.series} == {DATA_DROPPED, TASKS_FAILED}

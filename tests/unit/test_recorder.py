"""A recorder's settings, its thread, its sink, and signals during a record."""

import logging
import signal
import threading
import time

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from list_sink import ListSink

from pipeline import metrics
from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import (
    DATA_DROPPED,
    PAYLOAD_BYTES,
    RUN_SECONDS,
    TASKS_FAILED,
)


@pytest.mark.parametrize(
    "arguments",
    [
        {"interval_seconds": 0},
        {"interval_seconds": float("nan")},
        {"interval_seconds": float("inf")},
        {"task_limit": 0},
        {"queue_limit": 0},
    ],
)
def test_wrong_settings_raise(arguments):
    """An interval or limit out of range raises ValueError at once."""
    with pytest.raises(ValueError, match="expected"):
        Recorder(NullSink(), **arguments)


def test_a_null_sink_emits_nothing(recorder):
    """A recorder knows whether its numbers go anywhere."""
    assert recorder.is_emitting
    assert not Recorder(NullSink()).is_emitting


def test_a_soft_time_limit_passes(recorder, monkeypatch):
    """An exception that a signal handler raises during a record is the task's, and not swallowed."""

    def interrupted(*_):
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(recorder, "_add", interrupted)
    with pytest.raises(SoftTimeLimitExceeded):
        recorder.record(RUN_SECONDS, 1)


def test_recording_may_interrupt_recording():
    """A signal handler that records while its thread is recording does not deadlock."""
    sink = ListSink()
    recorder = Recorder(sink)
    before = signal.signal(signal.SIGALRM, lambda *_: recorder.record(TASKS_FAILED))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        recorder.record(RUN_SECONDS, 1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    recorder.close()

    assert sink.total(TASKS_FAILED) > 0


def test_drops_are_counted_until_emitted():
    """Every value of batches that failed is in DataDropped once the sink takes a batch again."""
    sink = ListSink(failures=3)
    recorder = Recorder(sink)
    for number in (5, 3, 0, 2):
        for _ in range(number):
            recorder.record(RUN_SECONDS, 1, task="t")
        recorder.flush()
    recorder.close()

    assert sink.total(DATA_DROPPED) == 8
    assert sink.total(RUN_SECONDS) == 2


def test_an_outage_is_logged_once(caplog):
    """One warning for each outage, without names or values in its text."""
    sink = ListSink(failures=2)
    recorder = Recorder(sink)
    for failures in (2, 1):
        sink.failures = failures
        for _ in range(failures + 1):
            recorder.record(RUN_SECONDS, 1, task="secret")
            recorder.flush()
    recorder.close()

    logged = [record for record in caplog.records if record.name == metrics.__name__]
    assert [record.getMessage() for record in logged] == ["metrics dropped [dropped_count=1]"] * 2
    assert {record.levelno for record in logged} == {logging.WARNING}
    assert [record.dropped_count for record in logged] == [1, 1]


def test_threads_lose_nothing():
    """What many threads record while the sink takes batches is emitted once, all of it."""
    sink = ListSink()
    recorder = Recorder(sink, interval_seconds=0.001)

    def work():
        for number in range(1000):
            recorder.record(PAYLOAD_BYTES, number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()

    assert sink.count(PAYLOAD_BYTES) == 8_000
    assert sink.total(PAYLOAD_BYTES) == 8 * sum(range(1000))


def test_recording_does_not_wait_for_the_sink():
    """A sink that hangs holds up neither recording nor, beyond the given time, flush and close."""
    hang = threading.Event()

    class HangingSink:
        def emit(self, _):
            hang.wait(30)

    recorder = Recorder(HangingSink())
    started = time.monotonic()
    recorder.record(RUN_SECONDS, 1)
    recorder.flush(timeout_seconds=0.1)
    recorder.record(RUN_SECONDS, 1)
    recorder.close(timeout_seconds=0.1)
    elapsed = time.monotonic() - started
    hang.set()

    assert elapsed < 15


def test_emits_by_itself_once_an_interval(sink):
    """The thread emits by itself, and an interval without records emits nothing."""
    recorder = Recorder(sink, interval_seconds=0.05)
    recorder.record(RUN_SECONDS, 1)
    time.sleep(0.4)
    recorder.close()

    assert len(sink.batches) == 1


def test_the_thread_starts_with_the_first_record(sink, recorder):
    """An idle recorder has no thread, and flushing or closing it does nothing."""
    recorder.flush()
    recorder.close()
    assert recorder._flusher is None
    recorder.record(RUN_SECONDS, 1)
    assert recorder._flusher.is_alive()


def test_close_is_a_pause(sink, recorder):
    """Closing twice is safe, and what is recorded afterwards is emitted too."""
    for _ in range(2):
        recorder.record(TASKS_FAILED)
        recorder.close()
        recorder.close()

    assert sink.total(TASKS_FAILED) == 2


def test_values_wait_if_no_thread_starts(sink, recorder, monkeypatch):
    """Where no thread can be started numbers wait for the next record that may start one."""

    def raise_error(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", raise_error)
        recorder.record(TASKS_FAILED)
    recorder.record(TASKS_FAILED)
    recorder.flush()

    assert sink.total(TASKS_FAILED) == 2
    assert sink.total(DATA_DROPPED) == 0

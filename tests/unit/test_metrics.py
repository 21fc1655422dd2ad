"""Recording, and what Celery's signals record."""

import logging
import pickle
import signal
import threading
import time
from collections import Counter

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Reject, SoftTimeLimitExceeded, TimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st
from programs import printed_by

from pipeline import metrics
from pipeline.metrics import Metric, NullSink, Unit, table
from pipeline.metrics.recorder import EXACT_VALUES, OTHER, VALUES_PER_SERIES, Recorder
from pipeline.metrics.table import (
    DATA_DROPPED,
    METRICS,
    PAYLOAD_BYTES,
    QUEUE_BACKLOG,
    RUN_SECONDS,
    TASKS_FAILED,
    TASKS_RETRIED,
    TASKS_SUCCEEDED,
)
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.worker.signals import observe


class ListSink:
    """Keeps what it is given; refuses the first ``refusals`` batches."""

    def __init__(self, refusals=0):
        self.batches = []
        self.refusals = refusals

    def emit(self, batch):
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("down")
        self.batches.append(batch)

    @property
    def series(self):
        return [series for batch in self.batches for series in batch]

    def total(self, metric, **where):
        return sum(
            value * count
            for series in self.series
            if series.metric is metric and all(getattr(series, key) == value for key, value in where.items())
            for value, count in series.values.items()
        )

    def count(self, metric):
        return sum(sum(s.values.values()) for s in self.series if s.metric is metric)


@pytest.fixture
def sink():
    return ListSink()


@pytest.fixture
def recorder(sink):
    recorder = Recorder(sink, interval_seconds=3600)
    yield recorder
    recorder.close()


def run_python(source):
    """Run a program in which every warning is an error, and return its words."""
    return printed_by(source, "-W", "error").split()


def test_table_is_whole():
    """Every metric of the module is in the table once, under a name of its own."""
    named = [each for each in vars(table).values() if isinstance(each, Metric)]

    assert list(METRICS) == named
    assert len({metric.name for metric in METRICS}) == len(METRICS) == 28


def test_names_say_the_unit():
    """A metric's name ends in its unit, unless it counts."""
    for metric in METRICS:
        ending = next((u for u in ("Bytes", "Seconds") if metric.name.endswith(u)), "Count")

        assert metric.unit == Unit(ending)


def test_metrics_survive_pickle():
    """A metric that crossed a process boundary is equal to the one that was sent."""
    assert pickle.loads(pickle.dumps(METRICS)) == METRICS


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
def test_wrong_settings_are_refused(arguments):
    """An interval or limit out of range raises ValueError at once."""
    with pytest.raises(ValueError, match="expected"):
        Recorder(NullSink(), **arguments)


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
    """Beyond the limit tasks and queues are one, whatever comes; those known stay apart."""
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


def test_nobody_listens_to_a_null_sink(recorder):
    """A recorder knows whether its numbers go anywhere."""
    assert recorder.is_emitting
    assert not Recorder(NullSink()).is_emitting


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


def test_drops_are_counted_until_told():
    """Everything that a sink refused is in DataDropped once it takes a batch again."""
    sink = ListSink(refusals=3)
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
    sink = ListSink(refusals=2)
    recorder = Recorder(sink)
    for refusals in (2, 1):
        sink.refusals = refusals
        for _ in range(refusals + 1):
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

    assert elapsed < 1


def test_emits_by_itself_once_an_interval(sink):
    """The thread emits without being asked, and an interval without records emits nothing."""
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


def test_no_thread_to_be_had(sink, recorder, monkeypatch):
    """Where no thread can be started numbers wait for the next record that may start one."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        recorder.record(TASKS_FAILED)
    recorder.record(TASKS_FAILED)
    recorder.flush()

    assert sink.total(TASKS_FAILED) == 2
    assert sink.total(DATA_DROPPED) == 0


FORKING = """
    import os, threading, time
    from pipeline.metrics.recorder import Recorder
    from pipeline.metrics.table import PAYLOAD_BYTES, TASKS_FAILED

    class PrintSink:
        def emit(self, batch):
            who = "child" if os.getpid() != parent else "parent"
            for series in batch:
                total = sum(value * count for value, count in series.values.items())
                os.write(1, f"{who}:{series.metric.name}={total:.0f}\\n".encode())

    parent = os.getpid()
    recorder = Recorder(PrintSink())
"""


def test_a_forked_child_starts_empty():
    """The parent's numbers are emitted by the parent alone, the child's by its own thread."""
    printed = run_python(
        FORKING
        + """
    recorder.record(PAYLOAD_BYTES, 7)
    child = os.fork()
    if not child:
        recorder.record(TASKS_FAILED)
        recorder.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    """
    )

    assert sorted(printed) == ["child:TasksFailed=1", "parent:PayloadBytes=7"]


def test_no_lock_is_held_over_a_fork():
    """Children forked while other threads record and emit can record themselves."""
    printed = run_python(
        FORKING
        + """
    recorder = Recorder(PrintSink(), interval_seconds=0.001)
    def work():
        while True:
            recorder.record(PAYLOAD_BYTES, 0)
    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(50):
        child = os.fork()
        if not child:
            recorder.record(TASKS_FAILED)
            recorder.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    os._exit(0)
    """
    )

    assert printed.count("child:TasksFailed=1") == 50
    assert not [line for line in printed if line.startswith("child:Payload")]


def test_a_producer_emits_as_it_exits():
    """A program that only records has its numbers emitted when it ends."""
    assert run_python(FORKING + "    recorder.record(TASKS_FAILED)") == ["parent:TasksFailed=1"]


@pytest.mark.parametrize(
    "patch",
    ["from gevent import monkey; monkey.patch_all()", "import eventlet; eventlet.monkey_patch()"],
    ids=["gevent", "eventlet"],
)
def test_works_in_greenlets(patch):
    """Greenlets record and emit as threads do, and a flush does not block the others."""
    printed = printed_by(
        f"    {patch}"
        + FORKING
        + """
    jobs = [threading.Thread(target=recorder.record, args=(PAYLOAD_BYTES, 2)) for _ in range(10)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    recorder.flush()
    recorder.record(TASKS_FAILED)
    """
    )

    assert printed.split() == ["parent:PayloadBytes=20", "parent:TasksFailed=1"]


# What Celery's signals record.


@pytest.fixture
def app(recorder):
    observe(recorder)
    with Celery("observed", set_as_current=False) as app:
        app.conf.task_always_eager = True
        yield app
    observe(Recorder(NullSink()))


def test_runs_are_timed_and_counted(app, recorder, sink):
    """A task that returns counts as succeeded and its run as long as it took, under queue and task."""

    def nap():
        time.sleep(0.05)

    app.task(shared=False, name="nap")(nap).apply(routing_key="q")
    recorder.flush()

    assert sink.total(TASKS_SUCCEEDED, queue="q", task="nap") == 1
    assert 0.05 <= sink.total(RUN_SECONDS, queue="q", task="nap") < 5


NO_LINKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class SlowStore(MemoryStore):
    """A store that takes its time."""

    def get(self, key, size_bytes):
        """Answer after 0.3 seconds."""
        time.sleep(0.3)
        return super().get(key, size_bytes)


@pytest.mark.parametrize(("store", "threshold"), [(SlowStore("claims"), 0)])
@pytest.mark.usefixtures("claimcheck")
def test_deferred_arguments_are_no_run_time(app, recorder, sink):
    """The time that deferred arguments took to read is no part of a task's run time."""

    def read(*args):
        assert args == (1,)

    args, kwargs, _ = serializer.decode(serializer.encode(([1], {}, NO_LINKS)))
    tracer = build_tracer("read", app.task(shared=False, name="read")(read), app=app, eager=True)
    tracer("id", args, kwargs, {"id": "id", "delivery_info": {"routing_key": "q"}})
    recorder.flush()

    assert sink.total(TASKS_SUCCEEDED, queue="q") == 1
    assert sink.total(RUN_SECONDS, queue="q") < 0.2


def test_runs_nest(app, recorder, sink):
    """A task that calls another eagerly has its own time, and the other has its."""

    def inner():
        time.sleep(0.01)

    def outer():
        task.apply()
        time.sleep(0.5)

    task = app.task(shared=False, name="inner")(inner)
    app.task(shared=False, name="outer")(outer).apply()
    recorder.flush()

    assert 0.01 <= sink.total(RUN_SECONDS, task="inner") < 0.5
    assert sink.total(RUN_SECONDS, task="outer") >= 0.51


def test_each_run_is_logged_with_its_facts(app, caplog):
    """One structured line per run: which task, which attempt, which payload, how long; no arguments."""
    caplog.set_level("INFO", "pipeline.worker.signals")

    def nap(text):
        assert text

    app.task(shared=False, name="nap")(nap).apply(["top secret"], routing_key="q")

    (line,) = [record for record in caplog.records if record.name == "pipeline.worker.signals"]
    assert line.message.startswith("task ran [")
    assert (line.task_name, line.queue, line.attempt, line.claim_key) == ("nap", "q", 0, None)
    assert line.run_seconds >= 0
    assert "secret" not in repr(line.__dict__)


def test_failures_are_counted(app, recorder, sink):
    """A task that raises counts as failed, and its run as a run."""

    def fail():
        raise KeyError

    app.task(shared=False, name="fail")(fail).apply()
    recorder.flush()

    assert sink.total(TASKS_FAILED, task="fail") == 1
    assert sink.total(TASKS_SUCCEEDED) == 0
    assert sink.count(RUN_SECONDS) == 1


def test_retries_are_counted(app, recorder, sink):
    """Each attempt that asks for another counts as retried, and the last as what it came to."""

    def again(self):
        raise self.retry(countdown=0)

    app.task(shared=False, name="again", bind=True, max_retries=2)(again).apply()
    recorder.flush()

    assert sink.total(TASKS_RETRIED, task="again") == 2
    assert sink.total(TASKS_FAILED, task="again") == 1
    assert sink.count(RUN_SECONDS) == 3


def test_a_rejected_attempt_is_no_run(app, recorder, sink):
    """An attempt that was rejected, perhaps before the business logic began, is not timed."""

    def reject():
        raise Reject("later", requeue=True)

    app.task(shared=False, name="reject")(reject).apply()
    recorder.flush()

    assert sink.series == []


def nothing():
    pass


class Received:
    """What observing needs of Celery's Request."""

    def __init__(self, queue="q"):
        self.id = "id"
        self.delivery_info = {"routing_key": queue}


def test_a_time_limit_fails_once(app, recorder, sink):
    """A failure that the main process announces twice counts once, under the message's queue."""
    task = app.task(shared=False, name="slow")(nothing)
    request = Received()
    signals.task_received.send(sender=None, request=request)
    for _ in range(2):
        signals.task_failure.send(sender=task, task_id="id", exception=TimeLimitExceeded(1))
    recorder.flush()

    assert sink.total(TASKS_FAILED) == sink.total(TASKS_FAILED, queue="q", task="slow") == 1


def test_a_redelivery_may_fail_again(app, recorder, sink):
    """Each delivery of one message may fail, and the recorder keeps none of them alive."""
    task = app.task(shared=False, name="slow")(nothing)
    for _ in range(2):
        signals.task_received.send(sender=None, request=(request := Received()))
        signals.task_failure.send(sender=task, task_id="id", exception=TimeLimitExceeded(1))
        del request
    signals.task_failure.send(sender=task, task_id="id", exception=TimeLimitExceeded(1))
    recorder.flush()

    assert sink.total(TASKS_FAILED, queue="q") == 2
    assert sink.total(TASKS_FAILED, queue="") == 1


def test_observing_twice_counts_once(app, recorder, sink):
    """The last recorder wins, and nothing is counted twice."""
    ignored = ListSink()
    observe(Recorder(ignored))
    for _ in range(2):
        observe(recorder)
    app.task(shared=False, name="once")(nothing).apply()
    recorder.flush()

    assert sink.total(TASKS_SUCCEEDED) == 1
    assert ignored.batches == []


def test_a_run_that_ends_unbegun(app, recorder, sink):
    """A postrun without its prerun, because observing began between them, records nothing."""
    task = app.task(shared=False, name="begun")(nothing)
    signals.task_postrun.send(sender=task, task_id="id", args=(), state="SUCCESS")
    recorder.flush()

    assert sink.series == []


@pytest.mark.parametrize("name", ["worker_process_shutdown", "worker_shutdown"])
def test_processes_flush_before_they_end(app, recorder, sink, name):
    """A worker's processes emit what is pending when they are told to shut down."""
    recorder.record(TASKS_FAILED)
    getattr(signals, name).send(sender=None, pid=1, exitcode=0)

    assert sink.total(TASKS_FAILED) == 1

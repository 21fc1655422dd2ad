"""What a worker records of Celery's signals."""

import time

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.exceptions import Reject, TimeLimitExceeded
from list_sink import ListSink

from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import (
    RUN_SECONDS,
    TASKS_FAILED,
    TASKS_RETRIED,
    TASKS_SUCCEEDED,
)
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.worker.signals import observe


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


NO_SIGNATURES = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


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

    args, kwargs, _ = serializer.decode(serializer.encode(([1], {}, NO_SIGNATURES)))
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


def test_each_run_is_logged(app, caplog):
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
    """Each attempt that is retried counts as retried, and the last one by its outcome."""

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
    """A worker's processes emit pending values when they shut down."""
    recorder.record(TASKS_FAILED)
    getattr(signals, name).send(sender=None, pid=1, exitcode=0)

    assert sink.total(TASKS_FAILED) == 1

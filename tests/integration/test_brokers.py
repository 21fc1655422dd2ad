"""Serializer, deferred body and release work with other brokers and other pools."""

import random
import threading

import pytest
from celery import Task, chain, chord, signals
from celery.contrib.testing.worker import start_worker
from celery.worker import state
from workers import eventually

from pipeline.errors import PayloadMissingError
from pipeline.serializer import serializer

pytestmark = [pytest.mark.worker]

NOISE = random.Random(13).randbytes(400_000)
ROWS = [{"id": i} for i in range(100)]


def prove(sample):
    """Inline and offloaded tasks, canvas, retries and failures, and an empty store in the end."""
    small, large = sample.digest.delay(ROWS, a=1), sample.digest_bytes.delay(NOISE)
    canvas = chain(sample.add.s(1, 2), sample.add.s(3))()
    together = chord([sample.add.s(i, 1) for i in range(3)], sample.total.s())()
    retried, failed = sample.retry_twice.delay("x" * 500), sample.fail.delay(NOISE)

    assert small.get(timeout=60) == sample.fingerprint([[ROWS], {"a": 1}])
    assert large.get(timeout=60)[0] == len(NOISE)
    assert canvas.get(timeout=60) == 6
    assert together.get(timeout=60) == 6
    assert retried.get(timeout=60) == 500
    with pytest.raises(ValueError, match="always fails"):
        failed.get(timeout=60)
    sample.eventually_empty()


@pytest.fixture(params=[0, 262_144], ids="threshold={}".format)
def options(request):
    return {"threshold_bytes": request.param}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_redis(sample_of, redis_server, tmp_path, pool, options):
    """On Redis everything works, with payloads in files."""
    redis_server.reset()
    sample = sample_of(
        broker=redis_server.url, store=f"file://{tmp_path}/store", options=options,
        conf={"broker_transport_options": {"visibility_timeout": 60}},
    )  # fmt: skip
    sample.worker(pool=pool)

    prove(sample)


def test_rabbitmq(sample_of, rabbitmq_server, tmp_path, options):
    """On RabbitMQ everything works, with payloads in files."""
    sample = sample_of(broker=rabbitmq_server.url, store=f"file://{tmp_path}/store", options=options)
    sample.worker(pool="prefork")

    prove(sample)


def test_inspecting_a_worker(sample_of, redis_server, tmp_path):
    """Remote control works where the broker has it, and shows where arguments are, not what they say."""
    redis_server.reset()
    sample = sample_of(
        broker=redis_server.url, store=f"file://{tmp_path}/store", options={"threshold_bytes": 0},
        conf={"worker_enable_remote_control": True, "broker_transport_options": {"visibility_timeout": 60}},
    )  # fmt: skip
    sample.worker(pool="prefork")
    result = sample.nap.delay("top secret", 8)
    eventually(lambda: sample.notes() == ["napping"])
    inspect = sample.app.control.inspect(timeout=20, limit=1)

    ((task,),) = inspect.active().values()
    assert (task["id"], task["name"]) == (result.id, "sample_app.nap")
    assert "bytes in v1/" in task["args"]
    assert "secret" not in repr(task)
    assert inspect.query_task(result.id)
    assert list(inspect.ping().values()) == [{"ok": "pong"}]
    assert list(inspect.stats())
    sample.app.control.revoke(result.id, terminate=True)
    sample.eventually_empty()


@pytest.fixture
def watched(sample_of, redis_server, tmp_path):
    """A sample on Redis, whose workers answer, and where only what is big goes through the store."""
    redis_server.reset()
    return sample_of(
        broker=redis_server.url, store=f"file://{tmp_path}/store",
        conf={"worker_enable_remote_control": True, "broker_transport_options": {"visibility_timeout": 60}},
    )  # fmt: skip


def test_a_rejected_task_is_over(watched):
    """A task whose payload is missing is active no more, nor reserved, once that is known."""
    results = [watched.digest_bytes.delay(NOISE) for _ in range(3)]
    serializer.installed().store.delete(watched.objects())
    watched.worker(pool="prefork")
    for result in results:
        with pytest.raises(PayloadMissingError):
            result.get(timeout=60)
    inspect = watched.app.control.inspect(timeout=20, limit=1)

    assert [list(asked().values()) for asked in (inspect.active, inspect.reserved)] == [[[]], [[]]]


def test_big_arguments_are_not_shown_because_they_travel_inline(watched):
    """``inspect`` shows the size, not the text, of a large argument that is inline because it compresses."""
    watched.worker(pool="prefork")
    watched.hold.delay("secret" * 1_000)
    eventually(watched.notes)
    ((task,),) = watched.app.control.inspect(timeout=20, limit=1).active().values()
    watched.note("go on")

    assert "secret" not in repr(task)
    assert "inline" in repr(task["args"])


def test_filesystem(sample_of, tmp_path, options):
    """On Kombu's filesystem transport everything works."""
    for folder in ("in", "control"):
        (tmp_path / folder).mkdir()
    folders = {
        "data_folder_in": f"{tmp_path}/in",
        "data_folder_out": f"{tmp_path}/in",
        "control_folder": f"{tmp_path}/control",
    }
    sample = sample_of(
        broker="filesystem://", store=f"file://{tmp_path}/store", options=options,
        conf={"broker_transport_options": folders},
    )  # fmt: skip
    sample.worker(pool="prefork")

    prove(sample)


def test_memory(sample_of, options):
    """On Kombu's memory transport, with worker and producer in one process, everything works."""
    sample = sample_of(broker="memory://", store="memory://shop", options=options)
    with start_worker(sample.app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        prove(sample)


@pytest.fixture
def memory_sample(sample_of):
    """A sample whose workers are threads of this process, where every argument goes through the store."""
    return sample_of(broker="memory://", store="memory://shop", options={"threshold_bytes": 0})


def releasers():
    return [thread for thread in threading.enumerate() if thread.name == "claimcheck-releaser"]


def test_workers_one_after_the_other(memory_sample):
    """A process may start worker after worker, as test suites do, and each releases what it ran."""
    for _ in range(3):
        with start_worker(memory_sample.app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
            assert memory_sample.digest_bytes.delay(NOISE).get(timeout=30)

    memory_sample.eventually_empty()
    eventually(lambda: not releasers())


def test_each_worker_that_is_stopped_has_released_its_payloads(memory_sample):
    """A warm shutdown waits for the releaser of that worker, whichever worker of the process it is."""
    for _ in range(2):
        with start_worker(memory_sample.app, pool="solo", perform_ping_check=False) as worker:
            assert memory_sample.digest_bytes.delay(NOISE).get(timeout=30)
            state.should_stop = 0
            assert worker.blueprint.shutdown_complete.wait(30)
        state.should_stop = None

        assert memory_sample.objects() == []


class GaveUpError(Exception):
    """What an application raises when a task has retried often enough; it takes what Celery gives."""

    def __init__(self, *args, **_options):
        super().__init__(*args)


class Persistent(Task):
    """A base class with an error of its own."""

    MaxRetriesExceededError = GaveUpError


def test_a_task_keeps_its_own_error_for_too_many_retries(memory_sample):
    """A base class that chooses ``MaxRetriesExceededError`` catches what it chose."""

    @memory_sample.task(base=Persistent, bind=True, max_retries=0)
    def give_up(self, value):
        try:
            self.retry()
        except GaveUpError:
            return "caught"

    with start_worker(memory_sample.app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        assert give_up.delay(1).get(timeout=30) == "caught"


def test_a_worker_names_tasks_that_offload_nothing(memory_sample, capfd):
    """A task that inherits what its base class got before the claim check is named; one that chose is not."""

    class Early(Task):
        """A base class that is bound before its tasks are made."""

    memory_sample.app.conf.task_serializer = "json"
    Early.bind(memory_sample.app)
    memory_sample.app.conf.task_serializer = "claimcheck"
    memory_sample.task(memory_sample.add.run, base=Early, name="inherits")
    memory_sample.task(memory_sample.add.run, serializer="json", name="chosen")
    with start_worker(memory_sample.app, pool="solo", perform_ping_check=False, loglevel="WARNING"):
        pass

    assert "nothing is offloaded for inherits: a class of theirs" in capfd.readouterr().err


def test_workers_side_by_side(memory_sample):
    """The end of one worker ends no other's releaser."""
    with start_worker(memory_sample.app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        signals.worker_shutdown.send(sender=None)
        assert memory_sample.digest_bytes.delay(NOISE).get(timeout=30)

        memory_sample.eventually_empty()


@pytest.mark.aws
def test_gevent_over_sqs(sample_of, moto_aws, options):
    """On the gevent pool everything works too."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=options)
    sample.worker(pool="gevent", concurrency=10)

    prove(sample)


@pytest.mark.aws
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_every_stand_in(sample_of, aws, pool):
    """A task runs on both stand-ins, of which one is strict where the other is not."""
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0})
    sample.worker(pool=pool)

    prove(sample)

"""A worker that stops, or loses its connection, lets go of what it has not begun, and of nothing else."""

import signal
from collections import Counter
from time import sleep

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

OPTIONS = {"visibility_timeout": 30, "wait_time_seconds": 1, "polling_interval": 0}


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample whose workers take on more than they can run."""
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": OPTIONS, "worker_prefetch_multiplier": 10},
    )


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_warm_shutdown_gives_back_what_waits(sample, pool):
    """Another worker runs the tasks that waited while the first still runs its last one; each runs once."""
    first = sample.hold.delay("x")
    stopping = sample.worker(pool=pool, concurrency=1)
    eventually(sample.notes)
    waiting = [sample.nap.delay("x", 0) for _ in range(8)]
    eventually(lambda: stopping.text().count("received") == 9)
    stopping.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in stopping.text())
    sample.worker(pool="threads")

    assert [result.get(timeout=60) for result in waiting] == [1] * 8
    assert stopping.process.poll() is None
    sample.note("go on")
    assert first.get(timeout=30) == 1
    sample.eventually_empty()
    assert Counter(sample.notes()) == {"holding": 1, "napping": 8, "go on": 1}


def test_what_waits_goes_back_in_one_call(sample_of, moto_aws, proxy):
    """Ten messages are one batch, so that a worker with many of them stops in time."""
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={
            "broker_transport_options": OPTIONS | {"visibility_timeout": 150},  # no heartbeat among the calls
            "worker_prefetch_multiplier": 11,
        },
    )
    first = sample.hold.delay("x")
    stopping = sample.worker(pool="threads", concurrency=1)
    eventually(sample.notes)
    for _ in range(10):
        sample.nap.delay("x", 0)
    eventually(lambda: stopping.text().count("received") == 11)
    stopping.process.send_signal(signal.SIGTERM)
    eventually(lambda: moto_aws.depth(sample.queue).waiting == 10)

    assert proxy.operations["ChangeMessageVisibilityBatch"] == 1
    sample.note("go on")
    assert first.get(timeout=30) == 1


def test_a_cold_shutdown_loses_nothing(sample, proxy):
    """Ended tasks settle at a cold shutdown, and another worker runs those that were running."""
    stopping = sample.worker(pool="prefork", concurrency=4)
    running = sample.hold.delay("x")
    eventually(sample.notes)
    unsettled = proxy.fail("DeleteMessageBatch", status=503)
    ended = sample.nap.delay("x", 0)
    eventually(lambda: unsettled.used)
    stopping.process.send_signal(signal.SIGQUIT)
    proxy.heal()
    stopping.process.wait(20)
    sample.worker(pool="threads")
    sample.note("go on")

    assert ended.get(timeout=20) == running.get(timeout=60) == 1
    sample.eventually_empty()
    assert Counter(sample.notes()) == {"holding": 2, "napping": 1, "go on": 1}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_lost_connection_ends_no_task(sample, proxy, moto_aws, pool):
    """A task that runs while SQS is out of reach settles when it is back, and does not run twice."""
    result = sample.hold.delay("x")
    worker = sample.worker(pool=pool, concurrency=2)
    eventually(sample.notes)
    proxy.refuse()
    sleep(4)
    proxy.accept()
    sample.note("go on")

    assert result.get(timeout=60) == 1
    sample.eventually_empty(60)
    assert sample.echo.delay("y").get(timeout=60) == "y"
    sample.eventually_empty()
    assert sample.notes().count("holding") == 1
    assert worker.process.poll() is None
    eventually(lambda: not any(moto_aws.depth(sample.queue)))
    assert "nothing received" in worker.text()
    assert "Unrecoverable" not in worker.text()


@pytest.fixture
def sqs(proxy_to, moto_aws, monkeypatch):
    """A proxy in front of SQS alone."""
    proxy = proxy_to(moto_aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", proxy.url)
    return proxy


def test_a_minute_without_sqs_loses_no_acknowledgement(sqs, sample_of, moto_aws):
    """Tasks that end while SQS is out of reach settle when it is back: nothing runs twice, nothing stays."""
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": OPTIONS | {"visibility_timeout": 150}},
    )
    results = [sample.nap.delay("x", 5) for _ in range(10)]
    worker = sample.worker(pool="threads", concurrency=10)
    eventually(lambda: sample.notes().count("napping") == 10)
    sqs.refuse()

    assert [result.get(timeout=60) for result in results] == [1] * 10
    sleep(60)
    assert len(sample.objects()) == 10
    sqs.accept()
    sample.eventually_empty(60)
    worker.stop()
    assert sample.notes().count("napping") == 10
    assert "Unrecoverable" not in worker.text()

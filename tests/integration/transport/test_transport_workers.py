"""The SQS transport in real workers: long tasks, killed workers, and a shutdown that forgets nothing."""

from time import sleep

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

VISIBILITY_SECONDS = 4


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample whose every call is recorded, with a short visibility timeout."""
    options = {"visibility_timeout": VISIBILITY_SECONDS, "wait_time_seconds": 1, "polling_interval": 0}
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": options, "worker_prefetch_multiplier": 10},
    )


def test_a_full_prefetch_waits_for_a_free_slot_alone(sample_of, moto_aws):
    """A worker whose prefetch is full waits for a free slot, and not for ``polling_interval``."""
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        conf={"broker_transport_options": {"polling_interval": 60}, "worker_prefetch_multiplier": 1},
    )
    results = [sample.echo.delay(number) for number in range(5)]
    sample.worker(concurrency=1)

    assert [result.get(timeout=50) for result in results] == list(range(5))


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_longer_than_its_visibility_runs_once(sample, moto_aws, pool):
    """Neither the task that runs nor the one that waits behind it is delivered a second time."""
    sample.worker(pool=pool, concurrency=1)
    sample.worker(pool=pool, concurrency=1)
    results = [sample.nap.delay("x", 5.5 * VISIBILITY_SECONDS) for _ in range(3)]

    assert [result.get(timeout=90) for result in results] == [1, 1, 1]
    sample.eventually_empty()
    assert sample.notes().count("napping") == 3
    assert sum(moto_aws.depth(sample.queue)) == 0


def test_a_killed_workers_messages_come_back(sample, moto_aws):
    """Another worker runs the messages of a killed one after the visibility timeout."""
    doomed = sample.worker(pool="threads", concurrency=1)
    results = [task.delay("x") for task in (sample.hold, *[sample.echo] * 10)]
    eventually(lambda: doomed.text().count("received") == 10)
    sleep(VISIBILITY_SECONDS)  # so that the heartbeat has been at work
    sample.worker(pool="threads", concurrency=5)
    doomed.process.kill()
    sample.note("go on")

    assert [result.get(timeout=30) for result in results] == [1, *"x" * 10]
    assert sample.notes().count("holding") == 2  # the one that was under way runs again
    sample.eventually_empty()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_early_acknowledgements_are_not_collected(sample, proxy, moto_aws, pool):
    """A task that is acknowledged before it runs settles with a call of its own."""
    sample.worker(pool=pool)

    assert sample.early.delay("abc").get(timeout=60) == 3
    sample.eventually_empty()
    assert proxy.operations["DeleteMessage"] == 1
    assert proxy.operations["DeleteMessageBatch"] == 0
    assert sum(moto_aws.depth(sample.queue)) == 0


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_late_acknowledgements_travel_together(sample, proxy, moto_aws, pool):
    """Tasks that end at about the same time are deleted together, and their payloads go."""
    results = [sample.echo.delay(number) for number in range(60)]
    sample.worker(pool=pool)

    assert [result.get(timeout=60) for result in results] == list(range(60))
    sample.eventually_empty()
    assert proxy.operations["DeleteMessage"] == 0
    assert 6 <= proxy.operations["DeleteMessageBatch"] <= 40
    assert sum(moto_aws.depth(sample.queue)) == 0


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_shutdown_settles_what_has_ended(sample, proxy, moto_aws, pool):
    """On warm shutdown the task under way ends, its message settles, and its payload is released."""
    worker = sample.worker(pool=pool)
    proxy.fail("DeleteMessageBatch", status=503, times=1)
    result = sample.nap.delay("x", 2)
    eventually(sample.notes)
    worker.stop()

    assert result.get(timeout=5) == 1
    assert sum(moto_aws.depth(sample.queue)) == 0
    assert sample.objects() == []


def test_a_message_that_never_settles_keeps_its_payload(sample, proxy):
    """An expired receipt handle in a batch's answer means a redelivery, so the payload stays."""
    worker = sample.worker(pool="solo")
    failed = b'{"Successful":[],"Failed":[{"Id":"0","Code":"ReceiptHandleIsInvalid","SenderFault":true}]}'
    rule = proxy.fail("DeleteMessageBatch", status=200, times=1, content=failed)
    result = sample.echo.delay("x")

    assert result.get(timeout=60) == "x"
    eventually(lambda: rule.used == 1)
    eventually(lambda: "not settled" in worker.text())
    assert len(sample.objects()) == 1
    sample.eventually_empty()  # it comes again after its visibility timeout, and settles

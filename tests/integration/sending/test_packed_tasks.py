"""Tasks whose payloads are in packs, with real workers, a real S3 protocol, and every call counted."""

import random

import pytest
from celery import group
from dead_letters import DeadLetterQueue, outcome, run
from workers import eventually

import pipeline
from pipeline.admin import received_messages

pytestmark = pytest.mark.aws

NOISE = random.Random(3).randbytes(300_000)
COUNT = 40


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Receive dead letters without long polls."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample with the default options, whose every call is written down."""
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims")


def publish(sample, count=COUNT):
    return group(sample.digest.s(NOISE, number) for number in range(count)).apply_async()


@pytest.mark.worker
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_pack_costs_two_puts_and_a_get_each(sample, proxy, pool):
    """Forty tasks of 300 kB: two PUTs by the producer, a GET of a range each, and a few calls besides."""
    worker = sample.worker(pool=pool)
    proxy.requests.clear()
    result = publish(sample)
    published = proxy.operations
    assert result.get(timeout=120) == [sample.fingerprint([[NOISE, n], {}]) for n in range(COUNT)]
    sample.eventually_empty(60)

    assert (published["PutObject"], published["SendMessageBatch"]) == (2, COUNT // 10)
    store = [each for each in proxy.requests if each.operation in {"PutObject", "GetObject", "DeleteObjects"}]
    assert len(store) <= 1.25 * COUNT
    reads = [each for each in proxy.seen("GetObject") if "range" in each.headers]
    assert len(reads) == COUNT
    if pool == "prefork":
        assert worker.pid not in {each.pid for each in reads}


@pytest.mark.worker
def test_every_end_counts(sample):
    """Success, failure, retries, lost children, expiry and an early acknowledgement end a range each."""
    sample.worker(pool="prefork")
    with pipeline.batch():
        for task in (sample.early, sample.fail, sample.retry_twice, sample.ignored, sample.suicide):
            task.delay(NOISE)
        sample.retry_early.delay(NOISE)
        sample.digest.apply_async((NOISE,), expires=-1)
        sample.digest.delay(NOISE)
    assert len(sample.objects()) <= 2

    eventually(lambda: sum("attempt" in note for note in sample.notes()) >= 5)
    sample.eventually_empty(60)


@pytest.mark.worker
def test_queues_of_one_exchange_are_members(sample_of, moto_aws, monkeypatch):
    """A payload that two queues get ends when both have; its pack stays until then."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    left, right = (f"{sample.queue}-{side}" for side in ("left", "right"))
    queues = [sample.app.amqp.queues[name] for name in (left, right)]
    with pipeline.batch():
        sample.nap.apply_async((NOISE, 0), exchange="media", routing_key="media.x", declare=queues)
        sample.nap.delay(NOISE, 0)
    payload, ledger = sample.objects()
    assert ledger == f"{payload}.ledger"

    first = sample.worker(pool="threads", options=("-Q", f"{left},{sample.queue}"))
    eventually(lambda: sample.notes().count("napping") == 2)
    first.stop()
    assert sample.objects() == [payload, ledger]
    sample.worker(pool="threads", options=("-Q", right))
    sample.eventually_empty(60)


def test_a_broadcast_is_not_packed(sample_of, moto_aws, monkeypatch):
    """Nobody knows when the last worker has read the payload of a broadcast, so it keeps no pack."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    with pipeline.batch():
        sample.nap.apply_async((NOISE, 0), queue="everybody")
        assert len(sample.objects()) == 1


class TestDeadLetters:
    @pytest.fixture
    def dead_letters(self, sample, moto_aws):
        """Two tasks of a pack whose messages are dead letters."""
        queue = DeadLetterQueue(sample, moto_aws)
        queue.tasks = publish(sample, 2).results
        queue.bury()
        return queue

    def test_they_are_shown(self, sample, dead_letters):
        """Each payload is there, in one object, and the sweep keeps that."""
        code, said = run("show")
        (key,) = {shown["key"] for shown in said["messages"]}

        assert code == 0
        assert [(shown["payload_there"], shown["error"]) for shown in said["messages"]] == [(True, None)] * 2
        assert key in sample.objects()

    @pytest.mark.worker
    def test_a_redriven_one_keeps_its_range(self, sample, dead_letters):
        """A message that is redriven alone runs with its payload, and the other payload stays."""
        one, other = dead_letters.tasks
        assert outcome("redrive", "--task-id", one.id)[1]["moved"] == 1
        times = {"VisibilityTimeout": "30"}
        dead_letters.sqs.set_queue_attributes(QueueUrl=dead_letters.url, Attributes=times)
        sample.worker(pool="threads")
        assert one.get(timeout=60) == sample.fingerprint([[NOISE, 0], {}])
        assert len(sample.objects()) == 2

        assert outcome("redrive")[1]["moved"] == 1
        assert other.get(timeout=60) == sample.fingerprint([[NOISE, 1], {}])
        sample.eventually_empty(60)

    def test_a_purged_one_ends_its_range(self, sample, dead_letters):
        """A purge ends the ranges of the messages that it deletes; the last one deletes the pack."""
        code, said = outcome("purge", "--yes", "--task-id", dead_letters.tasks[0].id)
        assert (said["deleted"], said["released"]) == (1, 0)
        assert len(sample.objects()) == 2

        code, said = outcome("purge", "--yes")
        assert (code, said["deleted"], said["released"]) == (0, 1, 1)
        assert sample.objects() == []

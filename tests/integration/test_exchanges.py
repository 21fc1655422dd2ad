"""Tasks published to exchanges reach all workers, several queues, or no queue."""

import random

import pytest
from workers import eventually

from pipeline.transport.errors import NotRoutedError

pytestmark = pytest.mark.aws

NOISE = random.Random(3).randbytes(20_000)


@pytest.mark.worker
def test_a_broadcast_reaches_all_workers(sample_of, moto_aws, monkeypatch):
    """Each worker runs it, and the payload stays for the others: the lifecycle rule is its end."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    workers = [sample.worker(pool="threads") for _ in range(2)]
    sample.nap.apply_async((NOISE, 0), queue="everybody")

    eventually(lambda: sample.notes() == ["napping"] * 2)
    eventually(lambda: [worker.text().count("succeeded in") for worker in workers] == [1, 1])
    result = sample.digest_bytes.delay(NOISE)
    assert result.get(timeout=30)[0] == len(NOISE)
    eventually(lambda: len(sample.objects()) == 1)


@pytest.mark.worker
def test_queues_of_one_exchange_share_a_payload(sample_of, moto_aws, monkeypatch):
    """Each queue's copy runs, whenever it does; the payload goes when the last one has ended."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    left, right = (f"{sample.queue}-{side}" for side in ("left", "right"))
    queues = [sample.app.amqp.queues[name] for name in (left, right)]
    attempts = [f"attempt {number} {len(NOISE)}" for number in range(3)]
    sample.retry_twice.apply_async((NOISE,), exchange="media", routing_key="media.x", declare=queues)

    first = sample.worker(pool="threads", options=("-Q", left))
    eventually(lambda: sample.notes() == attempts)
    first.stop()
    payload, ledger = sample.objects()
    assert ledger == f"{payload}.ledger"
    second = sample.worker(pool="threads", options=("-Q", right))
    eventually(lambda: sample.notes() == attempts * 2)
    sample.eventually_empty()
    second.stop()


@pytest.mark.worker
def test_one_queue_of_an_exchange_owns_its_payload(sample_of, moto_aws, monkeypatch):
    """A message that goes to one queue, over whatever exchange, takes its payload along."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    left = f"{sample.queue}-left"
    queue = sample.app.amqp.queues[left]
    sample.worker(pool="threads", options=("-Q", left))
    result = sample.digest.apply_async((NOISE,), exchange="media", routing_key="media.x", declare=[queue])

    assert result.get(timeout=30)
    sample.eventually_empty()


@pytest.mark.worker
def test_a_retry_goes_where_its_task_says(sample_of, moto_aws, monkeypatch):
    """Exchange, routing key or queue given to ``self.retry`` take precedence over those of its attempt."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    left = sample.app.amqp.queues[f"{sample.queue}-left"]
    news = sample.app.amqp.queues[f"{sample.queue}-news"]
    sample.worker(pool="threads", options=("-Q", f"{left.name},{news.name},{sample.queue}"))
    where = [
        {"exchange": "", "routing_key": sample.queue},
        {"queue": sample.queue},
        {"routing_key": "news.y"},
        {},
    ]
    for options in where:
        sent = sample.retry_elsewhere.apply_async(
            (NOISE,), options, exchange="media", routing_key="media.x", declare=[left, news]
        )
        assert sent.get(timeout=30) == len(NOISE)

    after = sample.notes()[1::2]
    assert after == [f"attempt 1 {key}" for key in (sample.queue, sample.queue, "news.y", left.name)]
    sample.eventually_empty()


def test_a_task_without_a_destination_is_declined(sample):
    """An exchange that leads to no queue is an error for the publisher, and leaves nothing in the store."""
    with pytest.raises(NotRoutedError, match="bound to exchange media for routing key media"):
        sample.digest.apply_async((NOISE,), exchange="media", routing_key="media.x")

    assert sample.objects() == []

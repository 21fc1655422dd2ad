"""Tasks that are published to exchanges: to all workers, to several queues, or to nobody."""

import random

import pytest
from workers import eventually

from pipeline.transport.errors import NotRoutedError

pytestmark = pytest.mark.aws

NOISE = random.Random(3).randbytes(20_000)


@pytest.mark.worker
def test_a_broadcast_reaches_all_workers(shop_of, moto_aws, monkeypatch):
    """Each worker runs it, and the payload stays for the others: the lifecycle rule is its end."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    shop = shop_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    workers = [shop.worker(pool="threads") for _ in range(2)]
    shop.nap.apply_async((NOISE, 0), queue="everybody")

    eventually(lambda: shop.notes() == ["napping"] * 2)
    eventually(lambda: [worker.text().count("succeeded in") for worker in workers] == [1, 1])
    result = shop.digest_bytes.delay(NOISE)
    assert result.get(timeout=30)[0] == len(NOISE)
    eventually(lambda: len(shop.objects()) == 1)


@pytest.mark.worker
def test_queues_of_one_exchange_share_a_payload(shop_of, moto_aws, monkeypatch):
    """Each queue's copy runs, whenever it does; a retry of one of them has a payload that goes with it."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    shop = shop_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    left, right = (f"{shop.queue}-{side}" for side in ("left", "right"))
    queues = [shop.app.amqp.queues[name] for name in (left, right)]
    attempts = [f"attempt {number} {len(NOISE)}" for number in range(3)]
    shop.retry_twice.apply_async((NOISE,), exchange="media", routing_key="media.x", declare=queues)

    first = shop.worker(pool="threads", options=("-Q", left))
    eventually(lambda: shop.notes() == attempts)
    first.stop()
    assert len(shop.objects()) == 1
    second = shop.worker(pool="threads", options=("-Q", right))
    eventually(lambda: shop.notes() == attempts * 2)
    second.stop()
    assert len(shop.objects()) == 1


@pytest.mark.worker
def test_one_queue_of_an_exchange_owns_its_payload(shop_of, moto_aws, monkeypatch):
    """A message that goes to one queue, over whatever exchange, takes its payload along."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    shop = shop_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    left = f"{shop.queue}-left"
    queue = shop.app.amqp.queues[left]
    shop.worker(pool="threads", options=("-Q", left))
    result = shop.digest.apply_async((NOISE,), exchange="media", routing_key="media.x", declare=[queue])

    assert result.get(timeout=30)
    shop.eventually_empty()


@pytest.mark.worker
def test_a_retry_goes_where_its_task_says(shop_of, moto_aws, monkeypatch):
    """What ``self.retry`` is given wins over the queue of its attempt: exchange, routing key, or queue."""
    monkeypatch.setenv("SHOP_EXCHANGES", "yes")
    shop = shop_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    left = shop.app.amqp.queues[f"{shop.queue}-left"]
    news = shop.app.amqp.queues[f"{shop.queue}-news"]
    shop.worker(pool="threads", options=("-Q", f"{left.name},{news.name},{shop.queue}"))
    where = [
        {"exchange": "", "routing_key": shop.queue},
        {"queue": shop.queue},
        {"routing_key": "news.y"},
        {},
    ]
    for options in where:
        sent = shop.retry_elsewhere.apply_async(
            (NOISE,), options, exchange="media", routing_key="media.x", declare=[left, news]
        )
        assert sent.get(timeout=30) == len(NOISE)

    after = shop.notes()[1::2]
    assert after == [f"attempt 1 {key}" for key in (shop.queue, shop.queue, "news.y", left.name)]
    shop.eventually_empty()


def test_a_task_that_would_go_nowhere_is_refused(shop):
    """An exchange that leads to no queue is an error for the publisher, and leaves nothing in the store."""
    with pytest.raises(NotRoutedError, match="bound to exchange media for routing key media"):
        shop.digest.apply_async((NOISE,), exchange="media", routing_key="media.x")

    assert shop.objects() == []

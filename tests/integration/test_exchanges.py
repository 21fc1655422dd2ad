"""Tasks that are published to exchanges: to all workers, or to nobody."""

import random

import pytest
from workers import eventually

from pipeline.transport.answers import NotRoutedError

pytestmark = pytest.mark.aws

NOISE = random.Random(3).randbytes(20_000)


@pytest.mark.worker
def test_a_broadcast_reaches_all_workers(shop_of, moto_aws, monkeypatch):
    """Each worker runs it, and the payload stays for the others: the lifecycle rule is its end."""
    monkeypatch.setenv("SHOP_BROADCAST", "yes")
    shop = shop_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})
    workers = [shop.worker(pool="threads") for _ in range(2)]
    shop.nap.apply_async((NOISE, 0), queue="everybody")

    eventually(lambda: shop.notes() == ["napping"] * 2)
    eventually(lambda: [worker.text().count("succeeded in") for worker in workers] == [1, 1])
    result = shop.digest_bytes.delay(NOISE)
    assert result.get(timeout=30)[0] == len(NOISE)
    eventually(lambda: len(shop.objects()) == 1)


def test_a_task_that_would_go_nowhere_is_refused(shop):
    """An exchange that leads to no queue is an error for the publisher, and leaves nothing in the store."""
    with pytest.raises(NotRoutedError, match="bound to exchange media for routing key media"):
        shop.digest.apply_async((NOISE,), exchange="media", routing_key="media.x")

    assert shop.objects() == []

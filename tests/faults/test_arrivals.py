"""Messages that have arrived and whose turn has not come: they are this worker's, or certainly another's."""

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

VISIBILITY_SECONDS = 4


def shop_with(shop_of, aws, wait_seconds, multiplier):
    options = {
        "visibility_timeout": VISIBILITY_SECONDS,
        "wait_time_seconds": wait_seconds,
        "polling_interval": 0,
    }
    conf = {"broker_transport_options": options, "worker_prefetch_multiplier": multiplier}
    return shop_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)


@pytest.mark.parametrize("pool", ["solo", "gevent"])
def test_what_arrives_behind_a_task_is_held(shop_of, moto_aws, pool):
    """While the first of an answer runs for longer than the timeout, no other worker sees the rest."""
    shop = shop_with(shop_of, moto_aws, wait_seconds=1, multiplier=4)
    results = [shop.nap.delay(b"x", 1.6 * VISIBILITY_SECONDS) for _ in range(3)]
    workers = [shop.worker(pool=pool, concurrency=1)]
    eventually(shop.notes)
    workers.append(shop.worker(pool=pool, concurrency=1))

    assert [result.get(timeout=60) for result in results] == [1, 1, 1]
    shop.eventually_empty()
    assert shop.notes() == ["napping"] * 3
    assert "can no longer be hidden" not in "".join(worker.text() for worker in workers)


def test_an_answer_that_nobody_read_in_time_is_left(shop_of, moto_aws):
    """On solo a task of one queue may keep another queue's answer unread: by then it is somebody else's."""
    shop = shop_with(shop_of, moto_aws, wait_seconds=10, multiplier=1)
    other = f"{shop.queue}-other"
    busy = shop.worker(pool="solo", concurrency=1, options=("-Q", f"{shop.queue},{other}"))
    long = shop.nap.delay(b"x", 3.5 * VISIBILITY_SECONDS)
    eventually(shop.notes)
    short = shop.nap.apply_async((b"x", 1), queue=other)
    eventually(lambda: moto_aws.depth(other).hidden)  # the answer has been sent to the busy worker
    shop.worker(pool="solo", concurrency=1, options=("-Q", other))

    assert [long.get(timeout=60), short.get(timeout=60)] == [1, 1]
    eventually(lambda: "messages left to others" in busy.text())
    shop.eventually_empty()
    assert shop.notes() == ["napping"] * 2
    assert sum(moto_aws.depth(f"{other}-dlq")) == 0

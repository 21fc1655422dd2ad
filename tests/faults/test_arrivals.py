"""Messages that have arrived and whose turn has not come: they are this worker's, or certainly another's."""

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

VISIBILITY_SECONDS = 4


def sample_with(sample_of, aws, wait_seconds, multiplier):
    options = {
        "visibility_timeout": VISIBILITY_SECONDS,
        "wait_time_seconds": wait_seconds,
        "polling_interval": 0,
    }
    conf = {"broker_transport_options": options, "worker_prefetch_multiplier": multiplier}
    return sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)


@pytest.mark.parametrize("pool", ["solo", "gevent"])
def test_what_arrives_behind_a_task_is_in_flight(sample_of, moto_aws, pool):
    """While the first of an answer runs for longer than the timeout, no other worker sees the rest."""
    sample = sample_with(sample_of, moto_aws, wait_seconds=1, multiplier=4)
    results = [sample.nap.delay(b"x", 1.6 * VISIBILITY_SECONDS) for _ in range(3)]
    workers = [sample.worker(pool=pool, concurrency=1)]
    eventually(sample.notes)
    workers.append(sample.worker(pool=pool, concurrency=1))

    assert [result.get(timeout=60) for result in results] == [1, 1, 1]
    sample.eventually_empty()
    assert sample.notes() == ["napping"] * 3
    assert "can no longer be hidden" not in "".join(worker.text() for worker in workers)


def test_an_answer_that_was_not_read_in_time_is_left(sample_of, moto_aws):
    """On solo, messages of an answer that stayed unread past its visibility timeout are not run."""
    sample = sample_with(sample_of, moto_aws, wait_seconds=10, multiplier=1)
    other = f"{sample.queue}-other"
    busy = sample.worker(pool="solo", concurrency=1, options=("-Q", f"{sample.queue},{other}"))
    long = sample.nap.delay(b"x", 3.5 * VISIBILITY_SECONDS)
    eventually(sample.notes)
    short = sample.nap.apply_async((b"x", 1), queue=other)
    eventually(lambda: moto_aws.depth(other).hidden)  # the answer has been sent to the busy worker
    sample.worker(pool="solo", concurrency=1, options=("-Q", other))

    assert [long.get(timeout=60), short.get(timeout=60)] == [1, 1]
    eventually(lambda: "messages left to others" in busy.text())
    sample.eventually_empty()
    assert sample.notes() == ["napping"] * 2
    assert sum(moto_aws.depth(f"{other}-dlq")) == 0

"""Tasks in Celery's message protocol 1, from a publisher through SQS and S3 to their end."""

import pytest

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROWS = list(range(50_000))


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_in_protocol_1_runs_and_leaves_nothing(sample_of, moto_aws, proxy, pool):
    """A payload is read once, a callback and a retry get theirs, and each is released."""
    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(store=store, options={"threshold_bytes": 0}, conf={"task_protocol": 1})
    sample.worker(pool=pool)
    before = len(proxy.seen("GetObject"))  # a worker tries its store as it starts

    linked = sample.total.apply_async((ROWS,), link=sample.double.s())
    retried = sample.retry_twice.delay("rows")
    failed = sample.fail.delay(1)

    assert linked.get(timeout=30) == sum(ROWS)
    assert retried.get(timeout=30) == len("rows")
    with pytest.raises(ValueError, match="always fails"):
        failed.get(timeout=30)
    assert linked.children[0].get(timeout=30) == 2 * sum(ROWS)
    sample.eventually_empty()
    assert len(proxy.seen("GetObject")) - before == 6

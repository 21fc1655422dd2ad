"""Payloads of messages that are published together are uploaded by threads, from any process."""

import threading

import pytest
from batch_calls import publish
from celery import chain, group

pytestmark = [pytest.mark.aws]


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample where every argument goes through the store, uploaded by threads."""
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0, "pack_bytes": 0}
    )


def test_a_group_leaves_no_thread(sample, proxy):
    """The payloads of a group are stored one by one, and the threads that did it have ended."""
    publish(sample)

    assert proxy.operations["PutObject"] == len(sample.objects()) == 25
    assert not [thread for thread in threading.enumerate() if thread.name == "claimcheck-upload"]


@pytest.mark.worker
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_task_publishes_a_group(sample, pool):
    """A worker's task publishes a group with payloads, from a child process or a greenlet."""
    sample.worker(pool=pool, concurrency=2)
    result = chain(sample.add.s(1, 1), group(sample.add.s(number) for number in range(12)))()

    assert result.get(timeout=60) == list(range(2, 14))
    sample.eventually_empty()

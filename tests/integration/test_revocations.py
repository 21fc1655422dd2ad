"""A task that was revoked while it waited does not run, also if every worker was started afterwards."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from workers import eventually

import pipeline

pytestmark = [pytest.mark.aws, pytest.mark.worker]


def records(sample):
    return [key for key in sample.objects() if "revoked/v1/" in key]


def wait_over(sample, aws, result):
    """Deliver the message of a task as if it had waited in SQS until now."""
    sqs, url = aws.client("sqs"), aws.url_of(sample.queue)
    [sent] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=sent["ReceiptHandle"])
    message = json.loads(sent["Body"])
    assert message["headers"]["id"] == result.id
    message["headers"]["claimcheck"]["wait_seconds"] = 90
    message["headers"]["eta"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message))


@pytest.mark.parametrize("threshold_bytes", [0, 262_144])
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_revoked_task_does_not_run_in_a_later_worker(sample_of, moto_aws, pool, threshold_bytes):
    """A worker that started after the revocation ends the task as REVOKED, and releases its payload."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": threshold_bytes})
    revoked, early = sample.nap.delay("x", 0), sample.nap.delay("y", 0)
    early.forget()
    revoked.revoke()
    wait_over(sample, moto_aws, revoked)
    sample.worker(pool=pool)

    eventually(lambda: revoked.state == "REVOKED")
    assert early.get(timeout=30) == 1
    assert sample.notes() == ["napping"]
    sample.eventually_empty()
    eventually(lambda: moto_aws.depth(sample.queue) == (0, 0, 0))
    assert len(records(sample)) == 1


def test_a_task_that_waited_and_was_not_revoked_runs(sample, moto_aws):
    """The records of other tasks stop none, and leave nothing of it behind."""
    result = sample.nap.delay("x", 0)
    sample.app.control.revoke(["some", f"{result.id}x"])
    wait_over(sample, moto_aws, result)
    sample.worker(pool="solo")

    assert result.get(timeout=30) == 1
    sample.eventually_empty()
    assert len(records(sample)) == 2


def test_a_shared_value_of_a_revoked_task_is_released(sample, moto_aws):
    """A member that was revoked while it waited in SQS has ended, without having read the value."""
    revoked = sample.nap.delay(pipeline.shared(["x"], uses=1), 0)
    revoked.revoke()
    wait_over(sample, moto_aws, revoked)
    sample.worker(pool="prefork")

    eventually(lambda: revoked.state == "REVOKED")
    sample.eventually_empty()
    assert sample.notes() == []


def test_a_silent_store_delays_no_small_task(sample_of, moto_aws, s3):
    """An inline task runs without an answer to its one check for a revocation."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    result = sample.nap.delay("x", 0)
    wait_over(sample, moto_aws, result)
    s3.delay(600, lambda request: "/revoked/" in request.path)
    worker = sample.worker(pool="solo")

    assert result.get(timeout=20) == 1
    assert len(s3.seen(lambda request: "/revoked/" in request.path)) == 1
    assert worker.text().count("whether it was revoked is not known") == 1

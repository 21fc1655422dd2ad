"""The handler for an SQS event source: what a worker does with a message, an invocation does."""

import json
import time
from uuid import uuid4

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from idempotent_fixtures import records as idempotency_records
from lambda_events import SAMPLE, upper

from pipeline.serializer import serializer
from pipeline.worker.republish import with_eta

pytestmark = pytest.mark.aws

ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]


@pytest.fixture
def sample(source_of):
    """A sample whose queue is the event source of a handler in this process."""
    return source_of()


def test_a_batch_ends_as_in_a_worker(sample):
    """Success and failure are recorded, messages deleted and payloads released before the handler returns."""
    results = [sample.digest.delay(ROWS), sample.fail.delay(ROWS), sample.rejected.delay(ROWS)]

    count, failed = sample.source.deliver()
    assert count == 3
    assert [result.state for result in results] == ["SUCCESS", "FAILURE", "FAILURE"]
    assert len(failed) == 1
    assert len(sample.payloads()) == 1
    assert sample.queues.depth() == 1


def test_a_retry_is_published_again(sample):
    """``self.retry`` sends a new message with the same payload, and the old one is deleted."""
    result = sample.retry_twice.delay(ROWS)
    deadline = time.monotonic() + 30
    while not result.ready() and time.monotonic() < deadline:
        _, failed = sample.source.deliver()
        assert failed == []

    assert result.result == len(ROWS)
    assert [line.split()[1] for line in sample.notes()] == ["0", "1", "2"]
    assert sample.payloads() == []


def test_early_acknowledgement(sample):
    """A task with ``acks_late=False`` is deleted before it runs, and its payload afterwards."""
    sample.early.delay(ROWS)

    assert sample.source.deliver() == (1, [])
    assert sample.notes() == ["early ran"]
    assert sample.payloads() == []


def test_poison_goes_to_the_dead_letter_queue(sample):
    """What is no task is reported as failed until SQS has moved it, with unchanged bytes, to the DLQ."""
    body = json.dumps({"s3_key": "large_file.csv"})
    sample.queues.send(body)
    found = [sample.source.deliver() for _ in range(4)]

    assert [count for count, _ in found] == [1, 1, 1, 0]
    assert [len(failed) for _, failed in found] == [1, 1, 1, 0]
    [dead] = sample.queues.sqs.receive_message(QueueUrl=sample.queues.url("-dlq"))["Messages"]
    assert dead["Body"] == body


def test_an_unknown_task_is_a_failure(sample):
    """The message of a task that this function does not have stays for one that has it."""
    sample.app.send_task("elsewhere", [ROWS])

    count, failed = sample.source.deliver()
    assert (count, len(failed)) == (1, 1)
    assert len(sample.payloads()) == 1


def test_an_expired_task_does_not_run(sample):
    """A task whose ``expires`` has passed is revoked, and its message and payload go."""
    result = sample.early.apply_async((ROWS,), expires=-1)

    assert sample.source.deliver() == (1, [])
    assert result.state == "REVOKED"
    assert sample.notes() == []
    assert sample.payloads() == []


def test_a_missing_payload_is_a_failure(sample):
    """A task whose payload is missing is recorded as failed, and its message goes to the DLQ."""
    result = sample.digest.delay(ROWS)
    serializer.installed().store.delete(sample.payloads())

    count, failed = sample.source.deliver()
    assert (count, len(failed)) == (1, 1)
    assert result.state == "FAILURE"


def test_without_a_receipt_handle_the_payload_stays(sample):
    """A message that only Lambda can delete has ended for it, and its payload is left to the sweep."""
    result = sample.digest.delay(ROWS)
    [found] = sample.source.records()

    assert sample.source.invoke([{**found, "receiptHandle": ""}]) == []
    assert result.state == "SUCCESS"
    assert len(sample.payloads()) == 1


def test_field_names_in_either_case(sample):
    """A record with SQS's own names of fields is read like one of Lambda's."""
    result = sample.digest.delay(ROWS)
    [found] = sample.source.records()

    assert sample.source.invoke([upper(found)]) == []
    assert result.state == "SUCCESS"
    assert sample.payloads() == []


def test_an_eta_beyond_the_invocation(sample):
    """A message whose ETA is far is sent again with a delay, and not run; SQS's longest is 15 minutes."""
    message = sample.queues.message(sample, "early", ROWS)
    message["headers"] = with_eta(message["headers"], 1_200)
    sample.queues.send(json.dumps(message))

    assert sample.source.deliver() == (1, [])
    assert sample.notes() == []
    assert sample.aws.depth(sample.queue) == (0, 0, 1)


def test_an_eta_within_the_invocation(sample):
    """A message whose ETA is near waits for it in the function."""
    message = sample.queues.message(sample, "early", ROWS)
    eta = time.time() + 0.5
    message["headers"] = with_eta(message["headers"], 0.5)
    sample.queues.send(json.dumps(message))

    assert sample.source.deliver() == (1, [])
    assert sample.notes() == ["early ran"]
    assert time.time() >= eta


def test_a_hard_time_limit(sample):
    """A task is ended by its own hard time limit, which is recorded, and its payload goes."""
    result = sample.overtime.delay(ROWS)

    assert sample.source.deliver() == (1, [])
    assert isinstance(result.result, TimeLimitExceeded)
    assert sample.payloads() == []


def test_a_soft_time_limit(sample):
    """A soft time limit is raised in the task."""
    result = sample.nap.apply_async((ROWS, 20), soft_time_limit=0.2)

    assert sample.source.deliver() == (1, [])
    assert isinstance(result.result, SoftTimeLimitExceeded)


def test_the_end_of_the_invocation_is_the_loss_of_a_worker(source_of):
    """A message returns if the invocation ends before its task, with ``task_reject_on_worker_lost``."""
    sample = source_of(task_reject_on_worker_lost=True)
    result = sample.nap.delay(ROWS, 20)

    count, failed = sample.source.deliver(seconds=1)
    assert (count, len(failed)) == (1, 1)
    assert not result.ready()
    assert len(sample.payloads()) == 1


def test_the_end_of_the_invocation_is_recorded(source_of):
    """Without ``task_reject_on_worker_lost`` a task that the invocation ends has failed."""
    sample = source_of(task_reject_on_worker_lost=False)
    result = sample.nap.delay(ROWS, 20)

    assert sample.source.deliver(seconds=1) == (1, [])
    assert isinstance(result.result, WorkerLostError)
    assert "invocation ends" in str(result.result)


def test_a_task_begins_only_if_its_limit_fits(sample):
    """After the first, a task whose time limit ends after the invocation is given back unrun."""
    sample.digest.delay(ROWS)
    later = sample.early.apply_async((ROWS,), time_limit=60)
    records = sorted(sample.source.records(), key=lambda found: later.id in found["body"])

    assert sample.source.invoke(records, seconds=30) == [records[1]["messageId"]]
    assert sample.notes() == []
    assert len(sample.payloads()) == 1


def test_a_group_stops_at_its_first_failure(source_of):
    """Of a FIFO queue's message group nothing runs after a failure, and all of the rest is reported."""
    sample = source_of(task_default_queue=f"shop-{uuid4().hex[:8]}.fifo")
    for group, number in [("a", 4), ("a", 5), ("a", 6), ("b", 1)]:
        sample.ordered.apply_async((group, number), MessageGroupId=group)
    records = sample.source.records()
    assert len(records) == 4

    failed = sample.source.invoke(records)
    assert len(failed) == 2
    assert [line for line in sample.notes() if "a" in line.split()] == [
        "begun a 4", "ended a 4", "begun a 5",
    ]  # fmt: skip
    assert "ended b 1" in sample.notes()


def test_a_group_waits_for_an_eta(source_of):
    """A FIFO queue's message whose ETA is far is hidden until then, and its group waits."""
    sample = source_of(task_default_queue=f"shop-{uuid4().hex[:8]}.fifo")
    sample.ordered.apply_async(("a", 1), countdown=60, MessageGroupId="a")
    sample.ordered.apply_async(("a", 2), MessageGroupId="a")

    count, failed = sample.source.deliver()
    assert (count, len(failed)) == (2, 2)
    assert sample.notes() == []


def test_idempotent_tasks(source_of):
    """A message that Lambda delivers twice runs an idempotent task once."""
    sample = source_of("idempotent_app")
    sample.idempotent_app.charge.delay("order 7")
    [found] = sample.source.records()

    assert sample.source.invoke([found]) == []
    assert sample.source.invoke([found]) == []
    assert sample.notes() == ["charged"]
    assert len(idempotency_records(sample)) == 1


def test_another_event_source(sample):
    """An event of something else than SQS fails the invocation, with the reason."""
    with pytest.raises(ValueError, match=r"'aws:kinesis'.*event source"):
        sample.source.invoke(
            [{**SAMPLE, "eventSource": "aws:kinesis", "eventSourceARN": "arn:aws:kinesis:x"}]
        )

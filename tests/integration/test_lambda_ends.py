"""What a Lambda handler does when a task ends its process, when its time is over, or when AWS fails."""

import json
import logging
import time
from base64 import b64encode
from threading import Thread
from uuid import uuid4

import pytest
from celery import chord, group
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker import state
from lambda_events import EventSource
from lambda_fixtures import OPTIONS

import pipeline
from pipeline.worker.republish import with_eta

pytestmark = pytest.mark.aws

ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]


@pytest.fixture
def sample(source_of):
    """A sample whose queue is the event source of a handler in this process."""
    return source_of("ending_app", task_reject_on_worker_lost=False)


@pytest.fixture
def fifo(source_of):
    """Return a function that makes a sample on a FIFO queue."""
    return lambda **conf: source_of(task_default_queue=f"shop-{uuid4().hex[:8]}.fifo", **conf)


def send_with_eta(sample, seconds):
    """Send a task whose ETA SQS does not wait for."""
    message = sample.queues.message(sample, "early", ROWS)
    message["headers"] = with_eta(message["headers"], seconds)
    sample.queues.send(json.dumps(message))


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_what_ends_a_process_is_the_loss_of_a_worker(sample, kind):
    """A task that would end its process on prefork has failed, and the rest of the batch runs."""
    results = [sample.digest.delay(ROWS), sample.ending_app.raised.delay(kind), sample.digest.delay(ROWS)]

    assert sample.source.deliver() == (3, [])
    assert [result.state for result in results] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert isinstance(results[1].result, WorkerLostError)
    assert kind in str(results[1].result)
    assert sample.payloads() == []


def test_out_of_memory(sample):
    """A task without memory is given back, and the rest of the batch runs."""
    sample.ending_app.raised.delay("MemoryError")
    result = sample.digest.delay(ROWS)

    count, failed = sample.source.deliver()
    assert (count, len(failed)) == (2, 1)
    assert result.state == "SUCCESS"


def test_a_task_that_catches_its_end(sample):
    """A task that catches its hard time limit is ended again."""
    result = sample.ending_app.stubborn.delay(ROWS)

    assert sample.source.deliver() == (1, [])
    assert sample.notes() == ["ended once"]
    assert isinstance(result.result, TimeLimitExceeded)


def test_an_eta_after_the_invocation(sample):
    """A message whose ETA is near, but after the invocation, is hidden until then, and not waited for."""
    send_with_eta(sample, 8)

    count, failed = sample.source.deliver(seconds=2)
    assert (count, len(failed)) == (1, 1)
    assert sample.notes() == []
    assert sample.aws.depth(sample.queue).hidden == 1


def test_an_eta_after_the_invocation_of_a_fifo_queue(fifo):
    """So is one of a FIFO queue, which has no other place to wait in."""
    sample = fifo()
    sample.ordered.apply_async(("a", 1), countdown=8, MessageGroupId="a")

    count, failed = sample.source.deliver(seconds=2)
    assert (count, len(failed)) == (1, 1)
    assert sample.notes() == []
    assert sample.aws.depth(sample.queue).hidden == 1


def test_a_message_that_cannot_wait_is_given_back(fifo):
    """One that SQS would not deliver again is not kept in flight by a process that is stopped."""
    sample = fifo(broker_transport_options={**OPTIONS, "max_receive_count": 1})
    sample.ordered.apply_async(("a", 1), countdown=60, MessageGroupId="a")

    count, failed = sample.source.deliver()
    assert (count, len(failed)) == (1, 1)
    assert sample.aws.depth(sample.queue).hidden == 0


def test_nothing_is_kept_between_invocations(sample):
    """Celery keeps no request of a message whose ETA was waited for."""
    send_with_eta(sample, 0.2)

    assert sample.source.deliver() == (1, [])
    assert sample.notes() == ["early ran"]
    assert state.requests == {}


def test_the_rest_of_a_group_returns_in_one_call(proxy, fifo):
    """What does not run after a failure of its message group returns unread, in one call."""
    sample = fifo()
    for number in (5, 6, 7):
        sample.ordered.apply_async(("a", number), MessageGroupId="a")

    count, failed = sample.source.deliver()
    assert (count, len(failed)) == (3, 3)
    assert sample.notes() == ["begun a 5"]
    assert proxy.operations["ChangeMessageVisibility"] == 1
    assert proxy.operations["ChangeMessageVisibilityBatch"] == 1


def test_an_unconfirmed_delete_keeps_the_payload(proxy, source_of):
    """A payload is released only after SQS has confirmed the delete; Lambda's own may fail as well."""
    sample = source_of()
    result = sample.digest.delay(ROWS)
    proxy.fail("DeleteMessageBatch")

    assert sample.source.deliver(seconds=1) == (1, [])
    assert result.state == "SUCCESS"
    assert len(sample.payloads()) == 1


def test_an_early_acknowledgement_that_fails(proxy, source_of):
    """A message that SQS did not delete before its task ran is reported as failed, like a worker's."""
    sample = source_of()
    result, _ = sample.digest.delay(ROWS), sample.early.delay(ROWS)
    proxy.fail("DeleteMessage", status=400, content=b'{"__type":"InvalidAddress","message":"no"}')

    count, failed = sample.source.deliver()
    assert (count, len(failed)) == (2, 1)
    assert result.state == "SUCCESS"
    assert sample.notes() == ["early ran"]


def test_a_message_that_lambda_has_kept_for_long(sample):
    """A delete after the visibility timeout may have no effect: the payload stays, whatever SQS answers."""
    result = sample.digest.delay(ROWS)
    [found] = sample.source.records()
    received = {"ApproximateFirstReceiveTimestamp": str(int(1_000 * (time.time() - 3_600)))}
    found["attributes"] = {**found["attributes"], **received}

    assert sample.source.invoke([found]) == []
    assert result.state == "SUCCESS"
    assert len(sample.payloads()) == 1


def test_a_queue_is_inspected_until_sqs_answers(proxy, source_of):
    """An invocation that could not read the queue's attributes leaves that to the next one."""
    sample = source_of()
    for _ in range(3):
        sample.digest.delay(ROWS)
    before = proxy.operations["GetQueueAttributes"]
    proxy.fail("GetQueueAttributes", times=1, status=400, content=b'{"__type":"AccessDenied"}')
    for each in sample.source.records():
        sample.source.invoke([each])

    assert sample.payloads() == []
    assert proxy.operations["GetQueueAttributes"] - before == 2


def test_invocations_in_two_threads(sample):
    """Two calls of a handler in one process run one after the other."""
    for number in range(1, 5):
        sample.ordered.delay("a", number)
    records = sample.source.records()
    calls = [Thread(target=sample.source.invoke, args=(part,)) for part in (records[:2], records[2:])]
    for each in calls:
        each.start()
    for each in calls:
        each.join()

    what = [line.split()[0] for line in sample.notes()]
    assert what == ["begun", "ended"] * 4


def test_notifications_of_s3(source_of, monkeypatch):
    """S3's notifications run tasks in Lambda through a door, and its test event is deleted."""
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    sample = source_of("doors_app")
    queue, bucket, s3 = f"{sample.queue}-s3", sample.aws.bucket("uploads"), sample.aws.client("s3")
    sample.aws.queue(queue)
    target = {"QueueArn": sample.aws.attributes(queue)["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [target]}
    )
    s3.put_object(Bucket=bucket, Key="input/a b.txt", Body=b"content")

    assert EventSource(sample.aws, queue, sample.handler).deliver() == (2, [])
    assert sample.notes() == ["input/a b.txt content 7 0"]


def test_a_shared_payload_and_a_chord(sample):
    """A chord whose tasks share a payload runs in Lambda, and the last one removes payload and ledger."""
    rows = pipeline.shared(ROWS, uses=3)
    header = group(sample.weighed.s(rows, number) for number in range(3))
    result = chord(header, sample.total.s()).apply_async()
    deadline = time.monotonic() + 30
    while not result.ready() and time.monotonic() < deadline:
        sample.source.deliver()

    assert result.result == 6
    assert sample.objects() == []


def test_logs_have_no_arguments(source_of, caplog):
    """What is logged at DEBUG has no arguments and no results, in whatever form."""
    caplog.set_level(logging.DEBUG)
    sample = source_of(threshold_bytes=100_000)
    sample.echo.delay("the-argument")
    sample.source.deliver()

    ours = [record for record in caplog.records if not record.name.startswith(("boto", "urllib3"))]
    text = "\n".join(f"{record.getMessage()} {vars(record)}" for record in ours)
    assert "sample_app.echo" in text
    assert "the-argument" not in text
    assert b64encode(json.dumps(["the-argument"]).encode()).decode()[4:16] not in text

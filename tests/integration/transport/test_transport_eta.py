"""Tasks with a countdown or an ETA wait in SQS, and not in a worker that might die with them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from kombu.exceptions import EncodeError
from workers import eventually

from pipeline.admin.sweep import Ages, Swept, orphans
from pipeline.claimcheck.keys import day_of
from pipeline.errors import PayloadExpiresError
from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample whose every call is recorded."""
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0})


class Queue:
    """The sample's queue as SQS sees it."""

    def __init__(self, sample, aws):
        self.aws, self.sqs = aws, aws.client("sqs")
        with sample.app.connection_for_write() as connection:
            self.url = connection.default_channel._new_queue(sample.queue)

    def counts(self):
        """Return how many messages are visible, hidden and delayed."""
        return self.aws.depth(self.url)

    def postpone(self, sample, deliveries=0, **delta):
        """Publish a task, and put its message back with an ETA, as if its delay were over."""
        result = sample.digest.delay("x")
        self.put_back_with_eta(**delta)
        for _ in range(deliveries):
            self.sqs.receive_message(QueueUrl=self.url, VisibilityTimeout=0, WaitTimeSeconds=1)
        return result

    def put_back_with_eta(self, **delta):
        """Give all messages that wait an ETA."""
        waiting = []
        while found := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            waiting += found
        for each in waiting:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
            message = json.loads(each["Body"])
            message["headers"]["eta"] = (datetime.now(UTC) + timedelta(**delta)).isoformat()
            self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(message))


@pytest.fixture
def queue(sample, moto_aws):
    """The sample's queue."""
    return Queue(sample, moto_aws)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_countdown_travels_with_the_message(sample, queue, pool):
    """The queue keeps the message until its time, and then it runs, once."""
    result = sample.echo.apply_async(("x",), countdown=10)
    assert queue.counts() == (0, 0, 1)
    worker = sample.worker(pool=pool)

    assert result.get(timeout=30) == "x"
    sample.eventually_empty()
    assert worker.text().count("received") == 1


def test_a_long_countdown_is_delayed_as_long_as_sqs_can(sample, queue):
    """The longest delay is not exceeded, and a time that is past is none."""
    sample.echo.apply_async(("x",), countdown=86_400)
    sample.echo.apply_async(("x",), eta=datetime.now(UTC) - timedelta(hours=1))

    assert queue.counts() == (1, 0, 1)


def test_a_near_eta_is_waited_for_in_sqs(sample, queue, proxy):
    """A message that comes a minute before its time is hidden until then; no worker keeps or extends it."""
    result = queue.postpone(sample, seconds=45)
    worker = sample.worker(pool="solo")
    eventually(lambda: proxy.operations["ChangeMessageVisibility"] == 1)
    worker.stop()

    assert queue.counts() == (0, 1, 0)
    assert "received" not in worker.text()
    sample.worker(pool="solo")
    assert result.get(timeout=90)
    sample.eventually_empty()
    assert queue.counts() == (0, 0, 0)
    assert proxy.operations["ChangeMessageVisibilityBatch"] == 0


@pytest.mark.parametrize(
    ("delivered", "delta"), [(0, {"days": 2}), (0, {"minutes": 20}), (1, {"seconds": 45})]
)
def test_a_far_eta_hops(sample, queue, delivered, delta):
    """What is a minute or more before its time, or was delivered before, is sent again; its payload stays."""
    result = queue.postpone(sample, delivered, **delta)
    worker = sample.worker(pool="solo")
    eventually(lambda: queue.counts() == (0, 0, 1))
    worker.stop()

    assert "received" not in worker.text()
    assert result.state == "PENDING"
    assert len(sample.objects()) == 1


LIMIT = 8


def test_far_etas_are_not_in_flight(sample, queue, proxy):
    """More messages wait for their ETA than may be in flight, and the queue goes on; ten hop in few calls."""

    def is_over_limit(request):
        return request.operation == "ReceiveMessage" and queue.counts().hidden >= LIMIT

    results = [sample.digest.delay("x") for _ in range(3 * LIMIT)]
    queue.put_back_with_eta(hours=1)
    over = b'{"__type":"com.amazonaws.sqs#OverLimit","message":"too many in flight"}'
    proxy.fail(is_over_limit, status=403, content=over)
    sample.worker(pool="threads", concurrency=2)
    eventually(lambda: queue.counts() == (0, 0, 3 * LIMIT))

    assert sample.digest.delay("y").get(timeout=30)
    assert {result.state for result in results} == {"PENDING"}
    assert proxy.operations["SendMessageBatch"] <= 3 * LIMIT / 2


def test_a_hop_whose_delete_fails_hops_again(sample, queue, proxy):
    """If the old message cannot be deleted, it is deleted later; until then there are two, and no loss."""
    proxy.fail("DeleteMessageBatch", status=500, times=2)
    queue.postpone(sample, hours=1)
    sample.worker(pool="threads")

    eventually(lambda: queue.counts() == (0, 0, 1))
    assert proxy.operations["SendMessage"] - proxy.operations["DeleteMessageBatch"] <= 1


def test_a_queue_that_shows_a_message_once(sample, queue):
    """With maxReceiveCount 1, a message with an ETA is sent again: SQS would not deliver a hidden one."""
    dead = queue.aws.attributes(queue.aws.queue())["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 1})
    queue.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"RedrivePolicy": policy})
    queue.postpone(sample, hours=1)
    worker = sample.worker(pool="threads")
    eventually(lambda: queue.counts() == (0, 0, 1))

    assert "received" not in worker.text()


def test_a_hop_needs_no_exchange(sample_of, moto_aws):
    """A message that came through an exchange goes back to its queue: a connection need not know the way."""
    way = {"exchange": "media", "exchange_type": "topic", "routing_key": "media.#"}
    conf = {
        "task_queues": {"video": way},
        "task_default_queue": "video",
        "task_default_routing_key": "media.x",
    }
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)
    queue = Queue(sample, moto_aws)
    queue.postpone(sample, days=2)
    sample.worker(pool="solo")

    eventually(lambda: queue.counts() == (0, 0, 1))


def test_a_message_that_cannot_hop_stays(sample, queue, proxy):
    """If SQS does not take it a second time, the worker keeps the one it has, and gives it back later."""
    queue.postpone(sample, days=2)
    proxy.fail("SendMessage", status=400, content=b'{"__type":"InvalidParameterValue","message":"no"}')
    worker = sample.worker(pool="solo")
    eventually(lambda: "message not postponed" in worker.text())
    worker.stop()

    assert queue.counts() == (1, 0, 0)
    assert len(sample.objects()) == 1


def test_an_eta_beyond_the_payloads_life_is_declined(sample):
    """A payload that would be gone before its task may run is not stored, and nothing is sent."""
    with pytest.raises(EncodeError, match="leaves 16; raise it") as caught:
        sample.digest.apply_async(("x",), countdown=17 * 86_400)

    assert isinstance(caught.value.args[0], PayloadExpiresError)
    assert sample.objects() == []


def test_a_payload_lies_under_the_day_it_is_due(sample):
    """Its key has the day of the ETA, from which the sweep counts its age."""
    sample.digest.apply_async(("x",), countdown=15 * 86_400)
    [key] = sample.objects()
    due = datetime.now(UTC) + timedelta(days=15)
    aged = Swept()

    assert (due - day_of(key)).days in {0, -1}
    assert list(orphans(serializer.installed().store, Ages(timedelta(-1), timedelta(-1)), set(), aged)) == []
    assert aged.young == 1

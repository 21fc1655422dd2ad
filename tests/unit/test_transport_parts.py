"""The transport's arithmetic: how long messages stay away, deduplication ids, and dead-letter queues."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from kombu.message import Message as PlainMessage
from kombu.transport.SQS import Channel as KombuChannel

from pipeline.transport import addressing
from pipeline.transport.channel import Channel
from pipeline.transport.delay import delay_seconds
from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import Delivery, InFlight, batches, failures
from pipeline.transport.message import Message
from pipeline.transport.redelivery import redelivery_seconds
from pipeline.transport.settling import Settler


def received(count):
    return {"Attributes": {"ApproximateReceiveCount": str(count)}}


def delivery(tag="a", url="https://sqs/q", visibility=30, hidden=30):
    return Delivery(tag, None, tag, "q", url, None, visibility, hidden)


def task(**changes):
    headers = {"id": "1", "task": "add", "retries": 0, **changes.pop("headers", {})}
    return {"body": "W10=", "headers": headers, **changes}


@pytest.mark.parametrize(("count", "longest"), [(1, 10), (2, 20), (4, 80), (7, 640), (8, 900), (10_000, 900)])
def test_backoff_grows_with_each_delivery(count, longest):
    """The longest wait doubles with each delivery up to its limit, and the waits are spread below it."""
    waits = [redelivery_seconds(received(count), {}) for _ in range(2_000)]

    assert min(waits) >= 1
    assert longest * 0.9 <= max(waits) <= longest


def test_backoff_is_what_the_options_say():
    """The transport options set floor, step and limit; an unknown count is the first."""
    options = {
        "redelivery_floor_seconds": 0, "redelivery_step_seconds": 0, "redelivery_limit_seconds": 3
    }  # fmt: skip

    assert redelivery_seconds({}, options) == 0
    assert redelivery_seconds(received(9), {**options, "redelivery_step_seconds": 2}) <= 3


def test_the_same_sending_has_the_same_deduplication_id():
    """Content and task decide, not a random number, the time, or where it is sent from."""
    first = addressing.deduplication_id(task())

    assert first == addressing.deduplication_id(task(headers={"origin": "elsewhere"}))
    assert len(first) <= 128


def test_what_is_no_task_has_no_deduplication_id():
    """Equal messages of others may both be meant: without an id they are not told from repetitions."""
    assert addressing.deduplication_id({"body": "WzFd", "headers": {}}) is None
    assert addressing.deduplication_id({"body": "WzFd"}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"body": "WzFd"},
        {"headers": {"id": "2"}},
        {"headers": {"task": "replacement"}},
        {"headers": {"retries": 1}},
        {"headers": {"eta": "2026-11-22T10:00:00+00:00"}},
        {"headers": {"claimcheck-republished": 1}},
        {"headers": {"replaced_task_nesting": 1}},
    ],
)
def test_a_new_sending_has_another_deduplication_id(change):
    """A retry, a replacement and a message sent again must not be dropped as repetitions."""
    assert addressing.deduplication_id(task(**change)) != addressing.deduplication_id(task())


@pytest.mark.parametrize(
    ("name", "declaration", "passing"),
    [
        ("celery", {}, False),
        ("orders-fifo.fifo", {"durable": True, "auto_delete": False, "exclusive": False}, False),
        ("celery-dlq", {}, True),
        ("celery-dlq.fifo", {}, True),
        ("worker1@host-celery-pidbox", {}, True),
        ("prefix-0b9e1c34-3a0c-4f5e-9a51-4a1a5ed1c001-reply-celery-pidbox", {}, True),
        ("0b9e1c34-3a0c-4f5e-9a51-4a1a5ed1c001", {}, True),
        ("celeryev-0b9e1c34", {}, True),
        ("bcast-0b9e1c34", {}, True),
        ("listener", {"auto_delete": True}, True),
        ("listener", {"durable": False}, True),
        ("listener", {"exclusive": True}, True),
    ],
)
def test_only_lasting_queues_have_dead_letters(name, declaration, passing):
    """Queues of one process, and dead-letter queues themselves, get none."""
    assert addressing.is_temporary(name, declaration) is passing


def test_a_fifo_queue_has_fifo_dead_letters():
    """The dead-letter queue is of the queue's own kind."""
    assert addressing.dead_letter_name("orders") == "orders-dlq"
    assert addressing.dead_letter_name("orders.fifo") == "orders-dlq.fifo"


@pytest.mark.parametrize("suffix", ["", ".fifo"])
def test_a_long_name_has_a_dead_letter_queue_too(suffix):
    """SQS takes 80 characters; names that begin alike do not share one."""
    names = {addressing.dead_letter_name(f"{'q' * (79 - len(suffix))}{each}{suffix}") for each in "ab"}

    assert len(names) == 2
    assert {len(name) for name in names} == {80}
    assert {name.endswith(f"-dlq{suffix}") for name in names} == {True}


def test_what_may_pass_does_not_leave_a_queue_without_dead_letters():
    """A queue that exists gets none any more, so it is not made while SQS is busy."""

    class Busy:
        def create_queue(self, **_):
            raise ClientError({"Error": {"Code": "RequestThrottled"}}, "CreateQueue")

    with pytest.raises(ClientError, match="RequestThrottled"):
        addressing.creation_attributes(Busy(), "q", {}, {}, with_dead_letters=True)


def test_a_fast_fifo_queue_has_fast_dead_letters():
    """Its throughput limit needs its scope of deduplication."""
    made = {}

    class Taking:
        def create_queue(self, Attributes, **_):  # noqa: N803 - boto3's
            made.update(Attributes)
            return {"QueueUrl": "url"}

        def get_queue_attributes(self, **_):
            return {"Attributes": {"QueueArn": "arn"}}

    fast = {"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup"}
    options = {"sqs-creation-attributes": fast}
    addressing.creation_attributes(Taking(), "q.fifo", {"FifoQueue": "true"}, options, with_dead_letters=True)

    assert made.items() >= fast.items()


def test_silence_is_no_confirmation():
    """An entry that the answer does not name has failed."""
    batch = [delivery("a"), delivery("b"), delivery("c")]
    answer = {"Successful": [{"Id": "0"}], "Failed": [{"Id": "2", "Code": "InternalError"}]}

    assert failures(batch, answer) == {"b": "no answer", "c": "InternalError"}


def test_a_batch_is_ten_of_one_queue():
    """SQS takes ten entries of one queue at a time."""
    in_flight = [delivery(str(n), f"https://sqs/{n % 2}") for n in range(24)]

    assert [len(batch) for batch in batches(in_flight)] == [10, 2, 10, 2]
    assert all(len({it.queue_url for it in batch}) == 1 for batch in batches(in_flight))


@pytest.mark.parametrize(("visibility", "hidden", "first"), [(30, 30, 10), (60, 30, 10), (30, 1800, 10)])
def test_the_first_beat_comes_at_a_third_of_the_shorter_time(visibility, hidden, first):
    """A queue may hide messages for less time than the option says, or for more."""
    it = delivery(visibility=visibility, hidden=hidden)

    assert it.extend_at - it.received == pytest.approx(first)
    assert it.expires - it.received == pytest.approx(hidden)


def test_what_is_let_go_is_not_held():
    """A delivery is in flight until it is popped, and popping twice is safe."""
    in_flight = InFlight()
    in_flight.add(delivery("a"))

    assert in_flight.pop("a").tag == "a"
    assert in_flight.pop("a") is None
    assert not len(in_flight)


class Silent:
    """A channel that answers nothing."""

    no_ack_consumers = None

    def basic_ack(self, delivery_tag, **_):
        """Take it."""

    def basic_reject(self, delivery_tag, **_):
        """Take it."""


@pytest.fixture
def message():
    return Message({"properties": {"delivery_tag": "a"}}, channel=Silent())


@pytest.mark.parametrize("again", ["ack", "reject", "requeue"])
def test_a_message_is_acknowledged_once(message, again):
    """A second word is an error, although the first has not been confirmed yet."""
    message.settling = True
    message.ack()

    assert not message.acknowledged
    with pytest.raises(PlainMessage.MessageStateError):
        getattr(message, again)()
    message.settling = False
    assert message.acknowledged


@pytest.mark.parametrize("word", ["reject", "requeue"])
def test_a_rejected_message_is_dealt_with(message, word):
    """A message that was given back counts as acknowledged, as in Kombu."""
    getattr(message, word)()

    assert message.acknowledged


def test_each_hook_of_kombu_is_overridden_once():
    """What happens to a message at one hook is read in one place."""
    sending, rest = (
        set(vars(each)) - {"__init__", "__module__", "__doc__"} for each in Channel.__mro__[1::-1]
    )

    assert Channel.__mro__[2] is KombuChannel
    assert not sending & rest


class Client:
    """SQS that gives the answers it was told to, one after another."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def delete_message_batch(self, **_):
        """Answer with the next one; an error is raised."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def settle(message, client, visibility, on_unsettled):
    in_flight = InFlight()
    in_flight.add(Delivery("a", message, "a", None, "https://sqs/q", client, visibility, visibility))
    message.settling = True
    settler = Settler(in_flight, on_unsettled)
    settler.add(in_flight.get("a"))
    assert settler.flush(5)
    return in_flight


def test_an_acknowledgement_is_given_up_with_its_receipt_handle(message):
    """After the visibility timeout the message is another's, and must not be deleted under its hands."""
    counted = []
    in_flight = settle(
        message, Client(OSError("reset")), 1, lambda queue, code: counted.append((queue, code))
    )

    assert counted == [("", "OSError")]
    assert message.unsettled
    assert not len(in_flight)


def test_a_confirmation_that_comes_too_late_is_none(message):
    """SQS confirms the delete of what others may have by now, so the payload stays."""
    counted = []
    settle(message, Client({"Successful": [{"Id": "0"}]}), 0, lambda _, code: counted.append(code))

    assert counted == ["visibility timeout over"]
    assert message.unsettled


def test_an_error_of_the_observer_stops_no_settling(message, caplog):
    """Whatever goes wrong around it, later acknowledgements are settled, and flush comes to an end."""
    stale = {"Failed": [{"Id": "0", "Code": "AWS.SimpleQueueService.ReceiptHandleIsInvalid"}]}

    def fail(queue, code):
        raise RuntimeError(queue)

    settle(message, Client(stale), 30, fail)

    assert "not counted" in caplog.text


def test_a_broken_answer_is_no_confirmation(message):
    """What nobody foresaw is tried again like any failure, and ends no thread."""
    settle(message, Client("no answer at all", {"Successful": [{"Id": "0"}]}), 30, lambda *_: None)

    assert not message.unsettled


def test_without_visibility_nothing_is_extended():
    """A timeout of 0 leaves nothing to extend."""
    assert delivery(visibility=0, hidden=0).extend_at == math.inf


def test_after_12_hours_a_message_is_let_go(caplog):
    """SQS hides no message for longer, so the heartbeat says so once, and stops asking."""
    in_flight = InFlight()
    in_flight.add(delivery())
    in_flight.get("a").received -= 43_200
    in_flight.get("a").extend_at = 0
    counted = []
    heartbeat = Heartbeat(in_flight, lambda queue, code: counted.append((queue, code)))
    heartbeat.beat()
    heartbeat.beat()

    assert caplog.text.count("can no longer be hidden") == 1
    assert counted == [("q", "12 hours are over")]


def test_a_dead_letter_queue_that_was_there_is_used():
    """It is found by its name, and left as it is."""

    class Taken:
        def create_queue(self, **_):
            raise ClientError({"Error": {"Code": "QueueAlreadyExists"}}, "CreateQueue")

        def get_queue_url(self, **asked):
            return {"QueueUrl": f"https://sqs/{asked['QueueName']}"}

        def get_queue_attributes(self, **asked):
            return {"Attributes": {"QueueArn": f"arn of {asked['QueueUrl']}"}}

    chosen = addressing.creation_attributes(
        Taken(), "q", {}, {"queue_tags": {"a": "b"}}, with_dead_letters=True
    )

    assert "arn of https://sqs/q-dlq" in chosen["RedrivePolicy"]


def test_a_dead_letter_queue_that_is_denied_is_done_without(caplog):
    """A queue is made all the same, and the log says what it lacks."""

    class Denied:
        def create_queue(self, **_):
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "CreateQueue")

    options = {"sqs-creation-attributes": {"KmsMasterKeyId": "alias/aws/sqs"}}
    chosen = addressing.creation_attributes(Denied(), "q", {}, options, with_dead_letters=True)

    assert chosen == {"KmsMasterKeyId": "alias/aws/sqs"}
    assert "dead-letter queue not made" in caplog.text


@pytest.mark.parametrize(
    ("wait_seconds", "retries", "kept_seconds", "delayed"),
    [
        (None, 0, 0, 0),
        (-5, 0, 0, 0),
        (2.5, 0, 0, 3),
        (3_600, 0, 0, 900),
        (60, 0, 900, 0),
        (3_600, 1, 900, 900),
        (None, 1, 0, 1),
        (None, 2, 900, 1),
        (2.5, 1, 0, 3),
        (60, 1, 900, 1),
    ],
)
def test_the_delay_of_a_message(wait_seconds, retries, kept_seconds, delayed):
    """SQS keeps a task until its ETA, if no worker is to; and a retry for a second at least."""
    now = datetime.now(UTC)
    eta = None if wait_seconds is None else (now + timedelta(seconds=wait_seconds)).isoformat()

    assert delay_seconds({"eta": eta, "retries": retries}, kept_seconds) == delayed

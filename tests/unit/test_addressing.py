"""Deduplication ids, temporary queues, and dead-letter queues."""

import pytest
from botocore.exceptions import ClientError

from pipeline.transport import addressing


def task(**changes):
    headers = {"id": "1", "task": "add", "retries": 0, **changes.pop("headers", {})}
    return {"body": "W10=", "headers": headers, **changes}


def test_the_same_sending_has_the_same_deduplication_id():
    """Content and task decide, not a random number, the time, or where it is sent from."""
    first = addressing.deduplication_id(task())

    assert first == addressing.deduplication_id(task(headers={"origin": "elsewhere"}))
    assert len(first) <= 128


def test_what_is_no_task_has_no_deduplication_id():
    """A message that is no task gets no id: two equal ones may both be intended."""
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


def test_a_dead_letter_queue_that_was_there_is_used():
    """It is found by its name, and left as it is."""

    class Taken:
        def create_queue(self, **_):
            raise ClientError({"Error": {"Code": "QueueAlreadyExists"}}, "CreateQueue")

        def get_queue_url(self, **options):
            return {"QueueUrl": f"https://sqs/{options['QueueName']}"}

        def get_queue_attributes(self, **options):
            return {"Attributes": {"QueueArn": f"arn of {options['QueueUrl']}"}}

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

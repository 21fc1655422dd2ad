"""A call of SendMessageBatch keeps to SQS's limits and to the order of FIFO groups."""

import random

import pytest
from batch_calls import DENIED, THROTTLED, answer, in_a_block, publish
from botocore.exceptions import ClientError
from celery import group
from celery.signals import after_task_publish

import pipeline
from pipeline.transport import BatchSendError

pytestmark = [pytest.mark.aws]

NOISE = random.Random(5).randbytes(275_000)
TOO_LONG = b'{"__type":"com.amazonaws.sqs#BatchRequestTooLong","message":"too long"}'


def send(sample, queue, number, name, **options):
    sample.double.apply_async((number,), queue=queue, MessageGroupId=name, **options)


def receive(aws, queue, count):
    """Take messages off a queue, and return the attributes that SQS gave them, in order."""
    sqs = aws.client("sqs")
    url = aws.url_of(queue)
    received = []
    while len(received) < count:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
        messages = answer["Messages"]
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        received += [message["Attributes"] for message in messages]
    return received


class TestLoneTask:
    def test_it_is_sent_at_once(self, sample, calls):
        """A task that is published alone is one SendMessage before ``delay`` returns."""
        sample.double.delay(1)

        assert calls() == (1, 0)

    def test_its_error_comes_at_once(self, sample, proxy):
        """The caller gets SQS's own error, and no signal says that the task was published."""
        proxy.fail("SendMessage", status=403, content=DENIED)
        seen = []

        def note(**_):
            seen.append(True)

        after_task_publish.connect(note)
        try:
            with pytest.raises(ClientError, match="AccessDenied"):
                sample.double.delay(1)
        finally:
            after_task_publish.disconnect(note)
        assert not seen
        assert not sample.objects()

    def test_a_retry_is_not_collected(self, sample, calls):
        """A retry is sent at once, in a block and in a group, because it ends its attempt."""
        with pipeline.batch():
            sample.double.apply_async((1,), retries=1)
            assert calls() == (1, 0)


class TestSize:
    def test_a_call_takes_a_mebibyte(self, sample_of, moto_aws, proxy, calls):
        """A call takes two messages of more than 350 KB, and the last one is sent alone."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 1_048_576})
        group(sample.digest_bytes.s(NOISE + bytes([number])) for number in range(7)).apply_async()

        assert calls() == (1, 3)
        assert moto_aws.depth(sample.queue).waiting == 7
        assert not sample.objects()

    def test_a_broker_may_take_less(self, sample_of, moto_aws, proxy, calls):
        """``broker_limit_bytes`` bounds a call as it does a message."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"broker_limit_bytes": 262_144})
        group(sample.digest_bytes.s(NOISE[:68_000] + bytes([number])) for number in range(6)).apply_async()

        assert calls() == (0, 3)

    def test_a_broker_that_takes_less_than_we_know(self, sample, proxy, calls, moto_aws):
        """A call that is too long for the broker is sent in halves."""
        proxy.fail("SendMessageBatch", status=400, times=1, content=TOO_LONG)
        publish(sample, 10)

        assert calls() == (0, 3)
        assert moto_aws.depth(sample.queue).waiting == 10


class TestFifo:
    def test_one_call_has_one_message_of_each_group(self, sample, proxy, calls, moto_aws):
        """Groups are batched, what belongs to one travels in order, and ids are kept."""
        queue = f"{sample.queue}.fifo"
        with pipeline.batch():
            for number in range(20):
                send(sample, queue, number, f"group-{number % 10}", MessageDeduplicationId=f"id-{number}")

        assert calls() == (0, 2)
        received = receive(moto_aws, queue, 20)
        assert sorted(each["MessageDeduplicationId"] for each in received) == sorted(
            f"id-{number}" for number in range(20)
        )
        for name in {each["MessageGroupId"] for each in received}:
            numbers = [
                int(each["MessageDeduplicationId"][3:]) for each in received if each["MessageGroupId"] == name
            ]
            assert numbers == sorted(numbers)

    def test_trying_again_keeps_the_order(self, sample, proxy, calls, moto_aws):
        """A throttled message is sent before the next message of its group."""
        queue = f"{sample.queue}.fifo"
        rule = proxy.fail("SendMessage", status=400, times=1, content=THROTTLED)
        with pipeline.batch():
            for number in range(3):
                send(sample, queue, number, "group", MessageDeduplicationId=f"{number}")

        assert rule.used == 1
        received = receive(moto_aws, queue, 3)
        assert [each["MessageDeduplicationId"] for each in received] == ["0", "1", "2"]

    def test_nothing_overtakes_what_failed(self, sample, proxy, moto_aws):
        """The later messages of a group are not sent after one of them failed, and other groups are."""
        queue = f"{sample.queue}.fifo"
        proxy.fail("SendMessageBatch", status=200, times=1, content=answer([1], _0="X!"))
        with pytest.raises(BatchSendError) as caught:
            in_a_block(lambda: [send(sample, queue, 0, name) for name in ("a", "b", "a", "b")])

        assert [each.code for each in caught.value.failed] == ["X", "PredecessorFailed"]
        assert all(each.is_certain for each in caught.value.failed)
        assert [each["MessageGroupId"] for each in receive(moto_aws, queue, 1)] == ["b"]
        assert len(sample.objects()) == 2

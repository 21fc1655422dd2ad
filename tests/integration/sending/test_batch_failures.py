"""A failed send of a batch reports exactly the tasks that were not sent, and releases only their payloads."""

import signal
from types import SimpleNamespace

import pytest
from batch_calls import DENIED, THROTTLED, answer, in_a_block, publish
from kombu.exceptions import OperationalError

import pipeline
from pipeline.transport import BatchSendError

pytestmark = [pytest.mark.aws]


def fail(*_, **__):
    raise RuntimeError("no event")


def owners(sample, aws):
    """Return the ids of the tasks whose payloads are in the store."""
    bucket = sample.environment["SHOP_STORE"].split("/")[2]
    s3 = aws.client("s3")
    return {s3.head_object(Bucket=bucket, Key=key)["Metadata"]["task-id"] for key in sample.objects()}


class TestFailures:
    def test_one_entry_fails(self, sample, proxy, moto_aws):
        """The error names the message that was not sent, and only its payload is released."""
        denial = answer(range(1, 10), _0="InvalidMessageContents!")
        proxy.fail("SendMessageBatch", status=200, times=1, content=denial)
        with pytest.raises(OperationalError) as caught:
            publish(sample)
        (failed,) = caught.value.failed

        assert isinstance(caught.value, BatchSendError)
        assert failed[1:] == (sample.queue, "InvalidMessageContents", True)
        assert failed.task_id not in owners(sample, moto_aws)
        assert len(sample.objects()) == 24
        assert moto_aws.depth(sample.queue).waiting == 15  # of the first ten the proxy only said so

    def test_one_entry_fails_for_now(self, sample, proxy, calls, moto_aws):
        """An entry that SQS failed by its own fault is sent again, alone."""
        proxy.fail("SendMessageBatch", status=200, times=1, content=answer(range(9), _9="InternalError"))
        publish(sample, 10)

        assert calls() == (1, 1)
        assert len(sample.objects()) == 10

    @pytest.mark.parametrize(
        ("code", "is_certain"), [("InternalError", False), ("RequestThrottled", True), ("X!", True)]
    )
    def test_an_entry_that_keeps_failing(self, sample, proxy, code, is_certain):
        """The payload of an entry that failed by a fault of SQS stays: the message may have been sent."""
        content = answer([], _0=code, _1=code)
        rule = proxy.fail("SendMessageBatch", status=200, content=content)
        with pytest.raises(BatchSendError) as caught:
            publish(sample, 2)

        assert [each.is_certain for each in caught.value.failed] == [is_certain] * 2
        assert rule.used == (1 if code.endswith("!") else 4)
        assert len(sample.objects()) == (0 if is_certain else 2)

    def test_an_entry_without_a_result_is_no_confirmation(self, sample, proxy):
        """An entry that the answer does not name is sent again, and its outcome is uncertain."""
        rule = proxy.fail("SendMessageBatch", status=200, content=answer([]))
        with pytest.raises(BatchSendError, match=r"2 \[queue=.*, code=no answer\]") as caught:
            publish(sample, 2)

        assert rule.used == 4
        assert not any(each.is_certain for each in caught.value.failed)
        assert len(sample.objects()) == 2

    def test_a_call_that_is_denied(self, sample, proxy, moto_aws):
        """A denied call raises at the tenth task, sends no message, and leaves no payload."""
        rule = proxy.fail("SendMessageBatch", status=403, content=DENIED)
        with pytest.raises(BatchSendError) as caught:
            publish(sample)

        assert rule.used == 1
        assert [each.code for each in caught.value.failed] == ["AccessDenied"] * 10
        assert not sample.objects()
        assert moto_aws.depth(sample.queue).waiting == 0

    @pytest.mark.parametrize("verb", ["lose", "fail"])
    def test_a_call_without_an_answer(self, sample, proxy, verb):
        """After a lost answer or a server error the messages may be there, so their payloads stay."""
        rule = getattr(proxy, verb)("SendMessageBatch")
        with pytest.raises(BatchSendError) as caught:
            publish(sample, 5)

        assert rule.used == 4
        assert not any(each.is_certain for each in caught.value.failed)
        assert len(sample.objects()) == 5

    def test_a_call_that_succeeds_in_the_end(self, sample, proxy, moto_aws):
        """Throttling and server errors are waited out."""
        proxy.fail("SendMessageBatch", status=400, times=1, content=THROTTLED)
        proxy.fail("SendMessageBatch", status=503, times=1)
        publish(sample, 5)

        assert moto_aws.depth(sample.queue).waiting == 5

    def test_a_denial_after_an_unclear_attempt_is_unclear(self, sample, proxy):
        """A message that may have been sent stays uncertain after a later denial."""
        proxy.lose("SendMessageBatch", times=1)
        proxy.fail("SendMessageBatch", status=403, content=DENIED)
        with pytest.raises(BatchSendError, match="2 of them may have been sent"):
            publish(sample, 2)

        assert len(sample.objects()) == 2

    def test_all_queues_of_a_block_are_tried(self, sample, proxy, moto_aws):
        """The error of one queue stops no other, and names the messages of both the middle and the end."""
        queues = [f"{sample.queue}-{name}" for name in "abc"]
        with pipeline.batch():
            for queue in queues:
                sample.double.apply_async((0,), queue=queue)
        proxy.fail("SendMessageBatch", status=403, times=2, content=DENIED)
        places = [*queues, queues[1], queues[2], *[queues[0]] * 9]
        with pytest.raises(BatchSendError) as caught:
            in_a_block(lambda: [sample.double.apply_async((1,), queue=queue) for queue in places])

        assert [each.queue for each in caught.value.failed] == [queues[0]] * 10 + [queues[1]] * 2
        assert [moto_aws.depth(queue).waiting for queue in queues] == [1, 1, 3]

    def test_a_request_to_end_is_not_replaced(self, sample, proxy, caplog):
        """Ctrl-C stays Ctrl-C; what was not sent is logged, and its payload goes."""
        proxy.fail("SendMessage", status=403, content=DENIED)
        with pytest.raises(KeyboardInterrupt):
            in_a_block(lambda: [sample.double.delay(1), signal.raise_signal(signal.SIGINT)])

        assert "messages not sent: 1" in caplog.text
        assert not sample.objects()

    def test_a_message_that_was_never_collected(self, sample, proxy, calls):
        """A publish that fails before there is a message releases its payload, as without a batch."""
        proxy.fail("CreateQueue", status=403, content=DENIED)
        with pytest.raises(Exception, match=r"AccessDenied|denied"):
            publish(sample, 5)

        assert calls() == (0, 0)
        assert not sample.objects()

    def test_an_error_after_a_message_was_collected(self, sample, proxy, moto_aws):
        """A task whose event alone failed is sent, and its payload stays."""
        sample.app.conf.task_send_sent_event = True
        events = SimpleNamespace(publish=fail)
        with pytest.raises(RuntimeError, match="no event"):
            in_a_block(lambda: sample.double.apply_async((1,), event_dispatcher=events))

        assert moto_aws.depth(sample.queue).waiting == 1
        assert len(sample.objects()) == 1

    def test_a_producer_carries_nothing_over(self, sample, proxy, calls):
        """After a failure the next user of the producer starts with nothing."""
        proxy.fail("SendMessageBatch", status=403, times=1, content=DENIED)
        with pytest.raises(BatchSendError):
            publish(sample, 5)
        sample.double.delay(1)
        publish(sample, 5)

        assert calls() == (1, 2)

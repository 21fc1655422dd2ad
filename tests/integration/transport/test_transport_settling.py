"""The channel settles messages in batches, and reports what SQS did not delete."""

import json
from time import sleep
from types import SimpleNamespace

import pytest
from transport_channel import THROTTLED, opened, publish, take
from workers import eventually

from pipeline.metrics.table import MESSAGES_UNSETTLED
from pipeline.transport import NotSettledError

pytestmark = pytest.mark.aws

EXPIRED = b'{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"expired"}'


class TestSettling:
    def test_acknowledgements_travel_ten_at_a_time(self, channel, proxy, moto_aws):
        """A hundred acknowledgements are about ten calls, and no single delete."""
        queue = publish(channel, 100)
        messages = take(channel, queue, 100)
        for message in messages:
            message.ack()
        eventually(lambda: all(message.acknowledged for message in messages))

        assert 10 <= proxy.operations["DeleteMessageBatch"] <= 14
        assert proxy.operations["DeleteMessage"] == 0
        assert sum(moto_aws.depth(queue)) == 0

    def test_slots_are_free_at_once(self, channel, proxy):
        """An ack does not wait for SQS, and a message that waits for its delete does not count as work."""
        proxy.delay(1, "DeleteMessageBatch")
        queue = publish(channel)
        (message,) = take(channel, queue)
        channel.basic_qos(prefetch_count=1)
        assert not channel.qos.can_consume()
        message.ack()

        assert channel.qos.can_consume()
        assert not message.acknowledged

    def test_early_acknowledgements_settle_before_they_return(self, channel, proxy, moto_aws):
        """Without leave to settle later, ack returns once the message is gone."""
        queue = publish(channel)
        (message,) = take(channel, queue, later=False)
        message.ack()

        assert message.acknowledged
        assert sum(moto_aws.depth(queue)) == 0
        assert proxy.operations["DeleteMessageBatch"] == 0

    def test_early_acknowledgements_raise_if_they_fail(self, channel, proxy):
        """Celery logs what an acknowledgement raises, and the message comes again."""
        (message,) = take(channel, publish(channel), later=False)
        proxy.fail("DeleteMessage", status=400, content=EXPIRED)

        with pytest.raises(NotSettledError, match="ReceiptHandleIsInvalid"):
            message.ack()
        assert not message.acknowledged

    def test_each_entry_of_an_answer_counts(self, channel, proxy, moto_aws):
        """Confirmed entries of a batch have settled, and the others are tried again."""
        queue = publish(channel, 2)
        first, second = take(channel, queue, 2)
        failed = {"Id": "1", "Code": "InternalError", "SenderFault": False}
        answer = {"Successful": [{"Id": "0"}], "Failed": [failed]}
        proxy.fail("DeleteMessageBatch", status=200, times=1, content=json.dumps(answer).encode())
        first.ack()
        second.ack()
        eventually(lambda: first.acknowledged and second.acknowledged)

        assert proxy.operations["DeleteMessageBatch"] == 2
        assert sum(moto_aws.depth(queue)) == 1  # the one that the proxy only said was gone

    def test_throttled_then_fine(self, channel, proxy, moto_aws):
        """A throttled delete is tried again until it is confirmed."""
        queue = publish(channel)
        (message,) = take(channel, queue)
        rule = proxy.fail("DeleteMessageBatch", status=400, times=3, content=THROTTLED)
        message.ack()
        eventually(lambda: message.acknowledged)

        assert rule.used == 3
        assert sum(moto_aws.depth(queue)) == 0

    def test_a_lost_answer_is_asked_for_again(self, channel, proxy, moto_aws):
        """A delete whose answer was lost is repeated, and confirmed the second time."""
        queue = publish(channel)
        (message,) = take(channel, queue)
        proxy.lose("DeleteMessageBatch", times=1)
        message.ack()
        eventually(lambda: message.acknowledged)

        assert sum(moto_aws.depth(queue)) == 0

    def test_an_expired_receipt_handle_never_settles(self, channel, proxy, caplog):
        """The message stays unsettled; that is logged once, and counted by the recorder of its transport."""
        counted = []
        count = SimpleNamespace(record=lambda metric, queue: counted.append((metric, queue)))
        channel.connection.recorder = count
        queue = publish(channel)
        (message,) = take(channel, queue)
        failed = {"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True}
        content = json.dumps({"Successful": [], "Failed": [failed]}).encode()
        proxy.fail("DeleteMessageBatch", status=200, content=content)
        message.ack()
        eventually(lambda: counted)
        sleep(0.5)

        assert counted == [(MESSAGES_UNSETTLED, queue)]
        assert not message.acknowledged
        assert proxy.operations["DeleteMessageBatch"] == 1
        assert [record.message for record in caplog.records if "not settled" in record.message]

    def test_closing_flushes(self, moto_aws, proxy):
        """Acknowledged messages have settled when the channel is closed."""
        with opened() as channel:
            queue = publish(channel, 3)
            messages = take(channel, queue, 3)
            for message in messages:
                message.ack()

        assert all(message.acknowledged for message in messages)
        assert sum(moto_aws.depth(queue)) == 0

    def test_an_acknowledgement_after_the_close_fails(self, moto_aws, proxy):
        """An acknowledgement raises after its channel was closed, since the message was returned."""
        with opened() as channel:
            (message,) = take(channel, publish(channel))

        with pytest.raises(NotSettledError):
            message.ack()
        assert not message.acknowledged

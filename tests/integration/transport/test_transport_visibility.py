"""The channel extends the visibility timeout of messages in flight, and returns messages to their queue."""

from time import sleep

import pytest
from kombu import Consumer, Queue
from transport_channel import THROTTLED, opened, publish, take
from workers import eventually

pytestmark = pytest.mark.aws


class TestHeartbeat:
    def test_messages_in_flight_stay_hidden(self, moto_aws, proxy):
        """A message stays hidden for several visibility timeouts, ten of them with one call a beat."""
        with opened(visibility_timeout=2) as channel:
            queue = publish(channel, 10)
            messages = take(channel, queue, 10)
            sleep(5)
            assert channel.basic_get(queue) is None
            assert proxy.operations["ChangeMessageVisibilityBatch"] <= 12
            for message in messages:
                message.ack()

        assert sum(moto_aws.depth(queue)) == 0

    def test_what_settled_or_was_given_back_is_not_extended(self, moto_aws, proxy):
        """The heartbeat extends only messages in flight."""
        with opened(visibility_timeout=2, redelivery_step_seconds=30, redelivery_floor_seconds=30) as channel:
            queue = publish(channel, 2)
            settled, rejected = take(channel, queue, 2)
            settled.ack()
            rejected.requeue()
            eventually(lambda: settled.acknowledged)
            sleep(2)
            assert channel.basic_get(queue) is None  # thirty seconds away

        assert proxy.operations["ChangeMessageVisibilityBatch"] == 0

    def test_it_can_be_switched_off(self, moto_aws, proxy):
        """Without a heartbeat a message comes again after its visibility timeout."""
        with opened(visibility_timeout=1, visibility_heartbeat=False) as channel:
            queue = publish(channel)
            take(channel, queue)
            sleep(1.2)

            assert channel.basic_get(queue) is not None

    def test_a_failed_beat_is_tried_again(self, moto_aws, proxy):
        """Errors of SQS stop no heartbeat."""
        with opened(visibility_timeout=3) as channel:
            queue = publish(channel)
            rule = proxy.fail("ChangeMessageVisibilityBatch", status=503, times=3)
            take(channel, queue)
            sleep(4.5)

            assert rule.used == 3
            assert channel.basic_get(queue) is None

    def test_a_beat_that_is_not_answered_is_given_up_soon(self, moto_aws, proxy):
        """A heartbeat that hangs times out early enough for the next one."""
        with opened(visibility_timeout=12) as channel:
            queue = publish(channel)
            rule = proxy.delay(60, "ChangeMessageVisibilityBatch", times=1)
            take(channel, queue)
            sleep(13)

            assert rule.used == 1
            assert channel.basic_get(queue) is None

    def test_a_stale_receipt_handle_is_let_go(self, moto_aws, proxy):
        """A stale receipt handle is extended once at most."""
        with opened(visibility_timeout=1) as channel:
            queue = publish(channel)
            (message,) = take(channel, queue)
            url = message.delivery_info["sqs_queue"]
            moto_aws.client("sqs").purge_queue(QueueUrl=url)
            sleep(2)
            beats = proxy.operations["ChangeMessageVisibilityBatch"]

        assert beats == 1

    def test_a_queue_that_hides_for_less_is_noticed(self, moto_aws, proxy):
        """The queue's own timeout decides when to beat, not the option that it was not made with."""
        name = moto_aws.queue(VisibilityTimeout=2).rpartition("/")[2]
        with opened(visibility_timeout=600) as channel:
            publish(channel, name=name)
            taken = []
            with Consumer(channel, [Queue(name)], callbacks=[lambda _, message: taken.append(message)]):
                channel.connection.client.drain_events(timeout=10)
            sleep(3)
            assert channel.basic_get(name) is None
            taken[0].ack()


class TestGivingBack:
    def test_a_rejected_message_comes_again_later_each_time(self, moto_aws, proxy):
        """Reject with requeue hides the message by its receive count, within the options' bounds."""
        with opened(redelivery_step_seconds=1, redelivery_limit_seconds=2) as channel:
            queue = publish(channel)
            for attempt in (1, 2, 3):
                (message,) = take(channel, queue)
                attributes_ = message.delivery_info["sqs_message"]["Attributes"]
                assert attributes_["ApproximateReceiveCount"] == str(attempt)
                message.requeue()
            message = eventually(lambda: channel.basic_get(queue))
            message.ack()

        assert sum(moto_aws.depth(queue)) == 0

    def test_what_was_not_started_is_shown_at_once(self, moto_aws, proxy):
        """A channel that closes makes its unstarted messages visible at once."""
        with opened() as channel:
            queue = publish(channel)
            take(channel, queue)
        with opened() as channel:
            assert channel.basic_get(queue) is not None

    def test_what_was_not_started_goes_back_ten_at_a_time(self, moto_aws, proxy):
        """A worker that stops with many messages makes few calls."""
        with opened() as channel:
            queue = publish(channel, 12)
            take(channel, queue, 12)

        assert proxy.operations["ChangeMessageVisibilityBatch"] == 2
        assert proxy.operations["ChangeMessageVisibility"] == 0

    def test_a_network_that_is_gone_delays_no_shutdown(self, moto_aws, proxy):
        """After the first failed return a closing channel makes no further call."""
        with opened() as channel:
            queue = publish(channel, 25)
            take(channel, queue, 25)
            rule = proxy.fail("ChangeMessageVisibilityBatch", status=503)

        assert rule.used == 1

    def test_a_failure_to_give_back_stops_nothing(self, channel, proxy, caplog):
        """A failed return is logged, and the message becomes visible after its visibility timeout."""
        (message,) = take(channel, publish(channel))
        proxy.fail("ChangeMessageVisibility", status=400, content=THROTTLED)
        message.requeue()

        assert message.acknowledged
        assert "not given back" in caplog.text

"""The SQS transport on its own, over real HTTP: settling, extending, giving back, and making queues."""

import json
import logging
from contextlib import contextmanager
from time import monotonic, sleep
from types import SimpleNamespace
from uuid import uuid4

import pytest
from kombu import Connection, Consumer, Producer, Queue
from workers import eventually

from pipeline.metrics.table import MESSAGES_UNSETTLED
from pipeline.transport import NotSettledError, Transport

pytestmark = pytest.mark.aws

EXPIRED = b'{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"expired"}'
THROTTLED = b'{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}'


@contextmanager
def opened(**options):
    chosen = {
        "visibility_timeout": 30,
        "wait_time_seconds": 1,
        "client-config": {"retries": {"total_max_attempts": 1}},
    }
    with Connection("sqs://", transport=Transport, transport_options={**chosen, **options}) as connection:
        yield connection.channel()


@pytest.fixture
def channel(moto_aws, proxy):
    with opened() as channel:
        yield channel


def publish(channel, count=1, name=None, **options):
    """Publish messages to a new queue, and return its name."""
    name = name or f"queue-{uuid4().hex[:8]}"
    producer = Producer(channel)
    queue = Queue(name)
    for number in range(count):
        producer.publish({"number": number}, routing_key=name, declare=[queue], serializer="json", **options)
    return name


def take(channel, queue, count=1, *, later=True):
    """Take messages off a queue, to be settled with others or at once."""
    messages = [eventually(lambda: channel.basic_get(queue)) for _ in range(count)]
    for message in messages:
        message.settles_later = later
    return messages


class TestSettling:
    def test_acknowledgements_travel_ten_at_a_time(self, channel, proxy, moto_aws):
        """A hundred acknowledgements are about ten calls, and no single delete."""
        queue = publish(channel, 100)
        messages = take(channel, queue, 100)
        started = monotonic()
        for message in messages:
            message.ack()
        assert monotonic() - started < 0.5  # nobody waited for SQS
        eventually(lambda: all(message.acknowledged for message in messages))

        assert 10 <= proxy.operations["DeleteMessageBatch"] <= 14
        assert proxy.operations["DeleteMessage"] == 0
        assert sum(moto_aws.depth(queue)) == 0

    def test_slots_are_free_at_once(self, channel):
        """A message that waits for its delete does not count as work."""
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
        """Of one batch, what is confirmed has settled, and what is not is tried again."""
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
        """A refusal for the moment is not the end."""
        queue = publish(channel)
        (message,) = take(channel, queue)
        rule = proxy.fail("DeleteMessageBatch", status=400, times=3, content=THROTTLED)
        message.ack()
        eventually(lambda: message.acknowledged)

        assert rule.used == 3
        assert sum(moto_aws.depth(queue)) == 0

    def test_a_lost_answer_is_asked_for_again(self, channel, proxy, moto_aws):
        """SQS deletes, nobody hears of it, and the second time confirms."""
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
        """What is acknowledged has settled when the channel is closed."""
        with opened() as channel:
            queue = publish(channel, 3)
            messages = take(channel, queue, 3)
            for message in messages:
                message.ack()

        assert all(message.acknowledged for message in messages)
        assert sum(moto_aws.depth(queue)) == 0

    def test_an_acknowledgement_after_the_end_is_refused(self, moto_aws, proxy):
        """A channel that is closed has given the message back, so it must not pass for settled."""
        with opened() as channel:
            (message,) = take(channel, publish(channel))

        with pytest.raises(NotSettledError):
            message.ack()
        assert not message.acknowledged


class TestHeartbeat:
    def test_what_is_held_is_hidden(self, moto_aws, proxy):
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
        """The heartbeat is for what is held, and for nothing else."""
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
        """A call that hangs is no reason to let a message run twice: the next one is in time."""
        with opened(visibility_timeout=12) as channel:
            queue = publish(channel)
            rule = proxy.delay(60, "ChangeMessageVisibilityBatch", times=1)
            take(channel, queue)
            sleep(13)

            assert rule.used == 1
            assert channel.basic_get(queue) is None

    def test_a_stale_receipt_handle_is_let_go(self, moto_aws, proxy):
        """What SQS does not know any more is not asked for twice."""
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
        """A channel that closes gives back what it holds, for others to take."""
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

    def test_a_network_that_is_gone_holds_up_no_shutdown(self, moto_aws, proxy):
        """After the first failure nothing more is asked; the messages come after their visibility timeout."""
        with opened() as channel:
            queue = publish(channel, 25)
            take(channel, queue, 25)
            rule = proxy.fail("ChangeMessageVisibilityBatch", status=503)

        assert rule.used == 1

    def test_a_failure_to_give_back_stops_nothing(self, channel, proxy, caplog):
        """The message comes after its visibility timeout anyhow."""
        (message,) = take(channel, publish(channel))
        proxy.fail("ChangeMessageVisibility", status=400, content=THROTTLED)
        message.requeue()

        assert message.acknowledged
        assert "not given back" in caplog.text


class TestQueues:
    def test_a_new_queue_has_a_dead_letter_queue(self, channel, moto_aws):
        """Both are encrypted; dead letters stay 14 days, and come after five receipts."""
        queue = publish(channel)
        policy = json.loads(moto_aws.attributes(queue)["RedrivePolicy"])
        dead = moto_aws.attributes(f"{queue}-dlq")

        assert policy == {"deadLetterTargetArn": dead["QueueArn"], "maxReceiveCount": 5}
        assert dead["MessageRetentionPeriod"] == "1209600"
        assert "RedrivePolicy" not in dead
        assert dead.get("SqsManagedSseEnabled", "true") == "true"

    def test_a_fifo_queue_has_a_fifo_one(self, channel, moto_aws):
        """A FIFO queue's dead letters stay in order."""
        queue = publish(channel, name=f"queue-{uuid4().hex[:8]}.fifo")
        dead = moto_aws.attributes(queue.replace(".fifo", "-dlq.fifo"))
        policy = json.loads(moto_aws.attributes(queue)["RedrivePolicy"])

        assert policy["deadLetterTargetArn"] == dead["QueueArn"]
        assert dead["FifoQueue"] == "true"

    def test_it_is_made_once(self, channel, proxy, moto_aws):
        """A second process finds the queue, and makes and changes nothing."""
        queue = publish(channel)
        made = proxy.operations["CreateQueue"]
        with opened(max_receive_count=9) as other:
            publish(other, name=queue)
            publish(other, name=f"{queue}-dlq")

        assert made == 2
        assert proxy.operations["CreateQueue"] == 2
        assert proxy.operations["SetQueueAttributes"] == 0

    @pytest.mark.parametrize(
        ("options", "declaration"),
        [({"dead_letter_queues": False}, {}), ({}, {"auto_delete": True}), ({}, {"durable": False})],
    )
    def test_some_queues_have_none(self, moto_aws, proxy, options, declaration):
        """It can be switched off, and a queue that ends with its process has none."""
        with opened(**options) as channel:
            name = f"queue-{uuid4().hex[:8]}"
            Queue(name, **declaration)(channel).declare()
            channel._new_queue(name)  # one that ends with its consumer is made when it is used
        urls = moto_aws.client("sqs").list_queues(QueueNamePrefix=name)["QueueUrls"]

        assert [url.rpartition("/")[2] for url in urls] == [name]

    def test_the_operators_own_attributes_come_first(self, moto_aws, proxy):
        """What sqs-creation-attributes says is not overruled."""
        target = moto_aws.attributes(moto_aws.queue("letters"))["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 2})
        with opened(**{"sqs-creation-attributes": {"RedrivePolicy": policy}}) as channel:
            queue = publish(channel)

        found = json.loads(moto_aws.attributes(queue)["RedrivePolicy"])
        assert found["deadLetterTargetArn"] == target

    def test_a_queue_without_dead_letters_is_warned_about_once(self, moto_aws, proxy, caplog):
        """Queues that exist are never changed: whoever runs them is told, once."""
        caplog.set_level(logging.WARNING)
        name = moto_aws.queue().rpartition("/")[2]
        for _ in range(2):
            with opened() as channel, Consumer(channel, [Queue(name)]):
                pass

        assert caplog.text.count("no redrive policy") == 1
        assert proxy.operations["SetQueueAttributes"] == 0

    def test_a_repetition_on_a_fifo_queue_is_dropped_and_a_retry_is_not(self, channel, moto_aws):
        """SQS knows the same sending by its deduplication id."""
        name = f"queue-{uuid4().hex[:8]}.fifo"
        for retries in (0, 0, 1):
            headers = {"id": "1", "task": "add", "retries": retries}
            publish(channel, name=name, headers=headers)

        assert sum(moto_aws.depth(name)) == 2

    def test_a_given_deduplication_id_is_kept(self, channel, moto_aws):
        """Whoever gives one knows better."""
        name = f"queue-{uuid4().hex[:8]}.fifo"
        for number in (1, 2):
            publish(channel, name=name, headers={"id": str(number)}, MessageDeduplicationId="same")

        assert sum(moto_aws.depth(name)) == 1

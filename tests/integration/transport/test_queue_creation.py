"""The channel creates a queue with its dead-letter queue, and never changes an existing one."""

import json
import logging
from uuid import uuid4

import pytest
from kombu import Consumer, Queue
from transport_channel import opened, publish

pytestmark = pytest.mark.aws


class TestQueues:
    def test_a_new_queue_has_a_dead_letter_queue(self, channel, moto_aws):
        """A new queue and its dead-letter queue are encrypted; dead letters stay 14 days after 5 receives."""
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
        """No dead-letter queue is made if switched off, or for a queue that ends with its process."""
        with opened(**options) as channel:
            name = f"queue-{uuid4().hex[:8]}"
            Queue(name, **declaration)(channel).declare()
            channel._new_queue(name)  # one that ends with its consumer is made when it is used
        urls = moto_aws.client("sqs").list_queues(QueueNamePrefix=name)["QueueUrls"]

        assert [url.rpartition("/")[2] for url in urls] == [name]

    def test_the_operators_own_attributes_come_first(self, moto_aws, proxy):
        """``sqs-creation-attributes`` take precedence over the transport's own."""
        target = moto_aws.attributes(moto_aws.queue("dead-letters"))["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 2})
        with opened(**{"sqs-creation-attributes": {"RedrivePolicy": policy}}) as channel:
            queue = publish(channel)

        found = json.loads(moto_aws.attributes(queue)["RedrivePolicy"])
        assert found["deadLetterTargetArn"] == target

    def test_a_queue_without_dead_letters_is_warned_about_once(self, moto_aws, proxy, caplog):
        """An existing queue without a redrive policy is never changed, and is warned about once."""
        caplog.set_level(logging.WARNING)
        name = moto_aws.queue().rpartition("/")[2]
        for _ in range(2):
            with opened() as channel, Consumer(channel, [Queue(name)]):
                pass

        assert caplog.text.count("no redrive policy") == 1
        assert proxy.operations["SetQueueAttributes"] == 0

    def test_a_repetition_on_a_fifo_queue_is_dropped_and_a_retry_is_not(self, channel, moto_aws):
        """SQS drops a repeated send by its deduplication id, and keeps a retry."""
        name = f"queue-{uuid4().hex[:8]}.fifo"
        for retries in (0, 0, 1):
            headers = {"id": "1", "task": "add", "retries": retries}
            publish(channel, name=name, headers=headers)

        assert sum(moto_aws.depth(name)) == 2

    def test_a_given_deduplication_id_is_kept(self, channel, moto_aws):
        """A deduplication id that the caller gives is kept."""
        name = f"queue-{uuid4().hex[:8]}.fifo"
        for number in (1, 2):
            publish(channel, name=name, headers={"id": str(number)}, MessageDeduplicationId="same")

        assert sum(moto_aws.depth(name)) == 1

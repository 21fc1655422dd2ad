"""Acknowledgements that SQS does not take at once: they are tried again, if need be each by itself."""

from uuid import uuid4

import pytest
from kombu import Connection, Producer, Queue

from pipeline.transport import Transport

pytestmark = pytest.mark.aws

OPTIONS = {"visibility_timeout": 30, "wait_time_seconds": 1, "polling_interval": 0}


def denial(code):
    """Return what SQS answers with a code."""
    return f'{{"__type":"com.amazonaws.sqs#{code}","message":"no"}}'.encode()


@pytest.fixture
def channel(moto_aws, proxy):
    """A channel that has received three messages, whose acknowledgements are collected."""
    with Connection("sqs://", transport=Transport, transport_options=OPTIONS) as connection:
        channel = connection.channel()
        channel.got = []
        queue = Queue(f"queue-{uuid4().hex[:8]}", channel=channel)
        producer = Producer(channel)
        for number in range(3):
            producer.publish({"number": number}, routing_key=queue.name, declare=[queue], serializer="json")
        queue.consume(callback=channel.got.append)
        while len(channel.got) < 3:
            connection.drain_events(timeout=5)
        for message in channel.got:
            message.settles_later = True
        channel.queue = queue.name
        yield channel


def test_a_denied_call_is_not_ten_stale_handles(channel, proxy, moto_aws):
    """Each message is deleted by itself after an error about the whole call."""
    proxy.fail("DeleteMessageBatch", 400, content=denial("InvalidParameterValue"))
    for message in channel.got:
        message.ack()

    assert channel._settler.flush(10)
    assert [message.unsettled for message in channel.got] == [False] * 3
    assert proxy.operations["DeleteMessage"] == 3
    assert sum(moto_aws.depth(channel.queue)) == 0


def test_a_stale_handle_among_others_is_the_only_one(channel, proxy, moto_aws):
    """A message whose own delete is answered so will not settle, and the others do."""
    proxy.fail("DeleteMessageBatch", 400, content=denial("InvalidParameterValue"))
    proxy.fail("DeleteMessage", 400, content=denial("InvalidParameterValue"), times=1)
    for message in channel.got:
        message.ack()

    assert channel._settler.flush(10)
    assert [message.unsettled for message in channel.got] == [True, False, False]

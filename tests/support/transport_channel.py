"""A channel of the SQS transport without a worker."""

from contextlib import contextmanager
from uuid import uuid4

from kombu import Connection, Producer, Queue
from workers import eventually

from pipeline.transport import Transport

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

"""Listeners of events and remote control, as a monitor or worker makes them."""

from contextlib import contextmanager, suppress
from uuid import uuid4

from kombu import Connection, Consumer, Exchange, Producer, Queue
from workers import eventually

from pipeline.transport import Transport

LISTENER = "claimcheck-listener-"
EVENTS = Exchange("celeryev", type="topic")
DENIED = b"""<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
<Code>AuthorizationError</Code><Message>not authorized</Message></Error></ErrorResponse>"""


@contextmanager
def opened(**options):
    chosen = {
        "wait_time_seconds": 1,
        "polling_interval": 0,
        "event_gather_seconds": 0.2,
        "client-config": {"retries": {"total_max_attempts": 1}},
    }
    with Connection("sqs://", transport=Transport, transport_options={**chosen, **options}) as connection:
        connection.connect()
        yield connection


def listen(connection, name=None, exchange=EVENTS, channel=None):
    """Listen as a monitor does, and return the list that events come into, and the consumer."""
    arrived = []
    queue = Queue(
        name or f"celeryev.{uuid4()}",
        exchange,
        "#",
        auto_delete=True,
        durable=False,
        message_ttl=5,
        expires=60,
    )
    consumer = Consumer(channel or connection.channel(), [queue], no_ack=True, accept=["json"])
    consumer.register_callback(lambda body, _: arrived.extend(body if isinstance(body, list) else [body]))
    consumer.consume()
    return arrived, consumer


def publish(connection, *numbers, exchange=EVENTS):
    producer = Producer(connection, exchange, serializer="json")
    for number in numbers:
        producer.publish({"number": number}, routing_key="task.sent", declare=[exchange])


def drain(connection, arrived, count):
    """Receive until so many events were arrived, and return their numbers."""

    def received():
        with suppress(TimeoutError):
            connection.drain_events(timeout=1)
        return len(arrived) >= count

    eventually(received)
    return sorted(event["number"] for event in arrived)


def queues(aws):
    urls = aws.client("sqs").list_queues(QueueNamePrefix=LISTENER).get("QueueUrls", [])
    return sorted(urls)


def subscriptions(aws):
    found = aws.client("sns").list_subscriptions()["Subscriptions"]
    return sorted(each["Endpoint"].rpartition(":")[2] for each in found)

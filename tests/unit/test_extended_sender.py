"""What sends to consumers that know no Celery: what it declines, and what it leaves behind."""

import pickle
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from celery import Celery

import pipeline
from pipeline.doors import extended_client_sender
from pipeline.errors import PayloadEncodeError
from pipeline.stores.memory import MemoryStore


@pytest.fixture
def app():
    app = Celery("doors_app", broker="sqs://", set_as_current=False)
    doors = {"orders": extended_client_sender(store="orders")}
    pipeline.install(app, "memory://doors", stores={"orders": "s3://orders"}, doors=doors)
    yield app
    pipeline.uninstall()
    app.close()


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        ({"args": [1, 2]}, ValueError, "call it with one argument"),
        ({"args": [1], "kwargs": {"a": 1}}, ValueError, "call it with one argument"),
        ({"args": [1], "countdown": 5}, ValueError, "a plain message has no eta"),
        ({"args": [(1, 2)]}, PayloadEncodeError, "type=tuple"),
        ({"args": [{1: 2}]}, PayloadEncodeError, "type=dict"),
        ({"args": [float("nan")]}, PayloadEncodeError, "type=float"),
        ({"args": [b"x"]}, PayloadEncodeError, "type=bytes"),
        ({"args": [""]}, PayloadEncodeError, "it is empty"),
    ],
)
def test_what_a_plain_message_cannot_say(app, call, error, why):
    """What would be lost or changed on its way to others is an error for the publisher."""
    message = app.amqp.as_task_v2("id", "theirs.order", **call)
    sender = extended_client_sender(store="orders")

    with pytest.raises(error, match=why):
        sender.send(None, None, "orders", "theirs.order", message)


class _Bucket(MemoryStore):
    bucket = "orders"


class _Channel:
    """A channel to a queue that does not take the message."""

    def __init__(self, error):
        self.error = error

    def send_plain(self, queue, body, attributes):
        raise self.error


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (
            ClientError(
                {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "x"
            ),
            0,
        ),
        (ReadTimeoutError(endpoint_url="https://sqs"), 1),
    ],
)
def test_the_object_of_a_message_that_was_not_sent(error, left):
    """An object whose message was certainly not sent is deleted; one whose message may have arrived stays."""
    store = _Bucket()
    claimcheck = SimpleNamespace(stores={"orders": store}, with_retries=lambda call: call())
    message = SimpleNamespace(headers={}, body=(["x" * 300_000], {}, {}))
    sender = extended_client_sender(store="orders")

    with pytest.raises(type(error)):
        sender.send(claimcheck, _Channel(error), "orders", "theirs.order", message)
    assert len(list(store.list())) == left


def test_a_spawned_child_sends_as_its_parent_does(app):
    """What sends to others goes along where the app is pickled; functions of other doors stay behind."""
    doors = app.conf.broker_transport_options["doors"]
    doors.by_queue["words"] = lambda _: []
    copy = pickle.loads(pickle.dumps(doors))

    assert copy.sender("orders") == doors.sender("orders")
    assert list(copy) == []


def test_a_fifo_queue_of_others(app):
    """A FIFO queue needs a message group, which a plain message has not: an error of install."""
    pipeline.uninstall()
    doors = {"orders.fifo": extended_client_sender(store="orders")}

    with pytest.raises(ValueError, match="use a standard queue"):
        pipeline.install(app, "memory://doors", stores={"orders": "s3://orders"}, doors=doors)

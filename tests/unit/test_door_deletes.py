"""Doors that delete: what ends with a task travels in its headers, and counts on that queue alone."""

import json

import pytest
from celery import Celery
from door_channel import call_of

import pipeline
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.headers import REMOVES
from pipeline.claimcheck.keys import new_handle_key, new_key
from pipeline.doors import TaskCall, extended_client

POINTER = ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "large", "s3Key": "a/k"}]
SIZE = {"ExtendedPayloadSize": {"DataType": "Number", "StringValue": "300000"}}
OBJECT = {"store": "large", "key": "a/k", "size_bytes": 300_000}


def words(message):
    """Each word is the key of an object that ends with its task."""
    handles = [Handle(store="large", key=f"a/{word}") for word in message.body.split()]
    return [TaskCall("tasks.read", [each], deletes=each) for each in handles]


@pytest.fixture
def app():
    app = Celery("doors_app", broker="sqs://", set_as_current=False)
    stores = {"large": "s3://large/a", "kept": "s3://kept"}
    doors = {
        "pointers": extended_client("tasks.read", store="large", deletes=True),
        "uploads": extended_client("tasks.read", store="kept"),
        "words": words,
    }
    pipeline.install(app, "memory://doors", stores=stores, doors=doors)
    yield app
    pipeline.uninstall()
    app.close()


def again(message, **headers):
    """Return a message as the worker publishes it once more."""
    envelope = message._raw
    info = {name: value for name, value in envelope["properties"].items() if name != "delivery_info"}
    body = json.dumps(envelope["body"].decode("latin-1"))
    headers = {**envelope["headers"], **headers}
    return json.dumps(
        {**envelope, "headers": headers, "body": body, "properties": info | {"delivery_info": {}}}
    )


def test_what_a_door_deletes_travels(receive):
    """The message of a task names the object that ends with it, and so does the same message sent again."""
    message = receive(json.dumps(POINTER), queue="pointers", MessageAttributes=SIZE)
    republished = receive(again(message), queue="pointers")

    assert message.headers[REMOVES] == OBJECT
    assert message.removes == republished.removes == Handle(**OBJECT)


def test_a_door_that_does_not_delete(receive):
    """Without ``deletes`` nothing is named."""
    pointer = [POINTER[0], {"s3BucketName": "kept", "s3Key": "k"}]
    message = receive(json.dumps(pointer), queue="uploads", MessageAttributes=SIZE)

    assert (message.fault, message.removes, message.headers.get(REMOVES)) == ("", None, None)


@pytest.mark.parametrize(
    ("queue", "named"),
    [
        ("other", OBJECT),
        ("uploads", OBJECT),
        ("uploads", {"store": "kept", "key": "k"}),
        ("pointers", {"store": "kept", "key": "k"}),
        ("pointers", {"store": "large", "key": "b/k"}),
        ("pointers", {"store": "large", "key": "a/../k"}),
        ("pointers", {"store": "default", "key": new_key("")}),
        ("pointers", {"store": "default", "key": new_handle_key("", 7)}),
        ("pointers", {"store": "large"}),
        ("pointers", "text"),
        ("words", {"store": "kept", "key": "k"}),
    ],
)
def test_a_sender_cannot_have_others_deleted(receive, queue, named):
    """A header names nothing but what a message to that queue's door could have deleted."""
    message = receive(json.dumps(POINTER), queue="pointers", MessageAttributes=SIZE)

    assert receive(again(message, **{REMOVES: named}), queue=queue).removes is None


def test_each_of_several_calls_has_its_own(receive):
    """The task that publishes the calls of one message ends nothing, and gives each call its header."""
    message = receive("one two", queue="words")
    _, [calls], _ = call_of(message)

    assert message.removes is None
    assert [call[4] for call in calls] == [
        {REMOVES: {"store": "large", "key": f"a/{w}"}} for w in ("one", "two")
    ]

"""Messages of Celery on a queue with a door: what they may call where publishers choose the whole message."""

import json

import pytest
from celery import Celery

import pipeline
from pipeline.doors import eventbridge, sns
from pipeline.transport.foreign import NOT_ADMITTED
from pipeline.worker.validation import examine


@pytest.fixture
def options():
    return {}


@pytest.fixture
def app(options):
    app = Celery("doors_app", broker="sqs://", set_as_current=False)
    doors = {
        "words": sns("shop.order", raw=True),
        "uploads": eventbridge("shop.order", bare=True),
        "pointers": sns("shop.order"),
    }
    pipeline.install(app, "memory://doors", doors=doors, **options)
    yield app
    pipeline.uninstall()
    app.close()


def envelope(task, **changes):
    """Return what a program with Kombu sends for a task."""
    made = {
        "body": "[[1], {}, {}]",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": task, "id": "1", "lang": "py"},
        "properties": {"delivery_info": {}, "delivery_tag": "1"},
    }
    return json.dumps(made | changes)


@pytest.mark.parametrize("queue", ["words", "uploads"])
@pytest.mark.parametrize("task", ["shop.refund", "claimcheck.split", "", None, 1, ["shop.order"]])
def test_a_publisher_cannot_call_another_task(receive, queue, task):
    """Behind raw delivery and a bare detail, a message that looks like Celery's calls no other task."""
    message = receive(envelope(task), queue=queue)

    assert examine(message).fault == f"not read: {NOT_ADMITTED}"
    assert message.body in {None, "", b""}


def test_a_task_that_is_named_twice(receive):
    """Of two headers, and two tasks in one, the door reads that which Celery reads."""
    good, bad = '"task":"shop.order","id":"1"', '"task":"shop.refund","id":"1"'
    for headers in (f'"headers":{{{good}}},"headers":{{{bad}}}', f'"headers":{{{good},{bad}}}'):
        text = envelope("x").replace('"headers": {"task": "x", "id": "1", "lang": "py"}', headers)
        assert examine(receive(text, queue="words")).fault == f"not read: {NOT_ADMITTED}"


@pytest.mark.parametrize("headers", [None, [], "x", 1, {}, {"task": {}}])
def test_headers_of_any_kind(receive, headers):
    """Whatever is in place of the headers, no task is called."""
    assert examine(receive(envelope("", headers=headers), queue="words")).fault


@pytest.mark.parametrize(("queue", "task"), [("words", "shop.order"), ("pointers", "shop.refund")])
def test_tasks_of_celery_on_the_queue(receive, queue, task):
    """The door's own task, such as its retry, goes past the door; so does any where SNS writes messages."""
    assert receive(envelope(task), queue=queue).headers["task"] == task


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"signing_key": b"k" * 16}, "this app does not accept it"),
        ({"signing_key": b"k" * 16, "accept_unsigned": True}, NOT_ADMITTED),
    ],
)
def test_what_is_signed_is_checked_as_ever(receive, fault):
    """With a key the worker decides by the signature; while it is rolled out, the door decides."""
    assert fault in examine(receive(envelope("shop.refund"), queue="words")).fault

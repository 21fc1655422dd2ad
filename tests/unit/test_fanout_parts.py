"""The parts of fanout without a network: batches of events, names, and queues of replies."""

import json
from threading import Event as Flag

import pytest
from botocore.exceptions import ClientError

from pipeline.transport.addressing import is_temporary, listener_name
from pipeline.transport.fanout import events
from pipeline.transport.fanout.events import Audience, Event, message_of, together
from pipeline.transport.fanout.exchanges import fans_out
from pipeline.transport.fanout.listeners import retention_seconds
from pipeline.transport.fanout.mailbox import is_mailbox, is_reply_queue, reply_queues
from pipeline.transport.fanout.replies import NEW_QUEUE_SECONDS, Replies
from pipeline.transport.fanout.topics import Topic

TOPIC = Topic("celeryev", None)
ASKER = "6f1e1a3c-98a0-4b3c-b5d5-0f6f0d9b0c11"


def event(body, topic=TOPIC, content_type="application/json", **headers):
    envelope = {
        "body": body if isinstance(body, str) else json.dumps(body),
        "content-type": content_type,
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {"body_encoding": "utf-8", "delivery_tag": "first"},
    }
    return Event(topic, envelope)


def test_events_become_one_list():
    """Single events and lists of them are one list in their order, in one envelope with a tag of its own."""
    batch = [event({"a": 1}), event([{"b": 2}, {"c": 3}]), event([]), event({"d": "[,]"})]
    [joined] = together(batch)
    message = json.loads(message_of(joined))

    assert json.loads(message["body"]) == [{"a": 1}, {"b": 2}, {"c": 3}, {"d": "[,]"}]
    assert message["properties"]["delivery_tag"] != "first"
    assert batch[0].envelope["properties"]["delivery_tag"] == "first"


def test_one_event_travels_as_it_is():
    """A batch of one is the message that Celery has made."""
    assert json.loads(message_of([event({"a": 1})]))["body"] == '{"a": 1}'


@pytest.mark.parametrize(
    "other",
    [
        event({}, topic=Topic("other", None)),
        event({}, hostname="another"),
        event("gAR9lC4=", content_type="application/x-python-serialize"),
        event("x" * events.CALL_BYTES),
    ],
    ids=["topic", "headers", "serializer", "size"],
)
def test_what_does_not_belong_together_travels_apart(other):
    """Another topic, other headers, another serializer, or too much: another message."""
    assert [len(batch) for batch in together([event({}), other, event({})])] == [1, 1, 1]


class Counting(Topic):
    """A topic that counts how often its subscriptions are listed."""

    def __init__(self, answers):
        super().__init__("celeryev", None)
        self.answers = answers
        self.calls = 0

    def has_listeners(self):
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("answer", [True, False, OSError("denied")])
def test_an_answer_is_believed_for_a_while(monkeypatch, answer):
    """Subscriptions are listed once; if that fails, the topic is treated as having subscribers."""
    monkeypatch.setattr(Audience, "_called", float("-inf"))
    topic, audience = Counting([answer]), Audience()
    answers = [audience.listens(topic) for _ in range(5)]

    assert answers == [answer is not False] * 5
    assert topic.calls == 1


def test_a_command_wakes_everybody(monkeypatch):
    """A worker that has received a command treats the topic as having subscribers from then on."""
    monkeypatch.setattr(Audience, "_called", float("-inf"))
    topic, audience = Counting([False]), Audience()
    assert not audience.listens(topic)
    Audience.expect()

    assert audience.listens(topic)
    assert topic.calls == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"supports_fanout": False}, False),
        ({"predefined_queues": {"tasks": {}}}, False),
        ({"predefined_queues": {"tasks": {}}, "predefined_exchanges": {"celeryev": {}}}, True),
        ({"predefined_queues": {"tasks": {}}, "supports_fanout": True}, True),
    ],
)
def test_fanout_is_on_unless_topics_are_denied(options, expected):
    """It is on by default, off where queues alone are predefined, and as one says."""
    assert fans_out(options) is expected


def test_names_of_listeners():
    """Names are known by their prefix, fit SQS's 80 characters, and are new where they must be."""
    new = {listener_name("shop-", "celeryev-1", is_new=True) for _ in range(10)}
    long = listener_name("p" * 30, "x" * 90)

    assert len(new) == 10
    assert all(name.startswith("shop-claimcheck-listener-celeryev-1-") for name in new)
    assert len(long) == len(listener_name("p" * 30, "x" * 90, is_new=True)) == 80
    assert long != listener_name("p" * 30, "x" * 89 + "y")
    assert listener_name("", "a") == "claimcheck-listener-a"
    assert is_temporary("shop-claimcheck-listener-a", {})
    assert not is_temporary("event-listener-a", {})


@pytest.mark.parametrize(
    ("queue", "mailbox", "reply"),
    [
        ("celery@host.celery.pidbox", True, False),
        ("celery@web.reply.com.celery.pidbox", True, False),
        (f"{ASKER}.reply.celery.pidbox", False, True),
        ("tasks", False, False),
        (ASKER, False, False),
    ],
)
def test_mailboxes_and_reply_queues_are_distinguished(queue, mailbox, reply):
    """A worker's mailbox, a caller's reply queue and all other queues are distinguished."""
    assert (is_mailbox(queue), is_reply_queue(queue)) == (mailbox, reply)


def test_replies_go_to_askers_alone():
    """A reply goes only to a queue that is named after a UUID; a caller cannot name any other queue."""
    exchange = "reply.celery.pidbox"

    assert reply_queues(exchange, ASKER) == {f"{ASKER}.{exchange}"}
    assert reply_queues(exchange, "tasks") == reply_queues(exchange, f"../{ASKER}") == set()


def answers(*found):
    """Return what sends a message, with these errors in turn and then without, and a flag for that."""
    left, sent = list(found), Flag()

    def put():
        if left:
            raise ClientError({"Error": {"Code": left.pop(0)}}, "SendMessage")
        sent.set()

    return put, sent


def test_a_reply_looks_again_for_a_new_queue():
    """SQS may not know a new queue yet: a reply is sent when it does, and its sender does not wait."""
    put, sent = answers("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
    Replies().send(f"{ASKER}.reply.celery.pidbox", put)

    assert sent.wait(5)


def test_a_reply_never_raises():
    """A reply that cannot be sent is no error of the worker; what goes to other queues is."""
    put, sent = answers("AccessDenied", "AccessDenied")
    Replies().send(f"{ASKER}.reply.celery.pidbox", put)
    with pytest.raises(ClientError):
        Replies().send("tasks", put)

    assert not sent.is_set()


def test_the_first_reply_is_waited_for():
    """A new reply queue gets the time that SQS takes to make it usable, until the first reply has come."""
    replies = Replies()
    assert replies.timeout_seconds(1.0) == 1.0
    replies.made()
    assert replies.is_new
    assert replies.timeout_seconds(0.1) > NEW_QUEUE_SECONDS
    assert replies.timeout_seconds(60.0) == 60.0
    replies.arrived()

    assert not replies.is_new
    assert replies.timeout_seconds(0.1) == 0.1


@pytest.mark.parametrize(("wanted", "kept"), [(None, 60), (5, 60), (300, 300), (10**9, 1_209_600)])
def test_queues_keep_messages_as_long_as_sqs_can(wanted, kept):
    """The time to live that Celery declares is kept within SQS's limits."""
    assert retention_seconds(wanted) == kept

"""Doors: foreign messages become the messages of tasks, in the channel of a worker."""

import base64
import json
from time import process_time
from types import SimpleNamespace
from uuid import UUID

import pytest
from celery import Celery
from celery.app.task import Context
from celery.exceptions import Reject
from door_channel import call_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.exceptions import OperationalError
from list_sink import ListSink

import pipeline
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.handles.late_arguments import StoredText
from pipeline.deferred.body import deferred_in
from pipeline.doors import ForeignMessage, TaskCall, s3_notifications
from pipeline.doors.split import SPLIT, split
from pipeline.errors import MalformedError
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import MESSAGES_WITHOUT_TASK
from pipeline.transport.queues import _task_queues
from pipeline.worker.consumer import ConsumerMixin
from pipeline.worker.validation import examine


def lines(message):
    """A door of ten lines: each line of a text is a call."""
    words = message.body.split()
    if words[:1] == ["bad"]:
        raise MalformedError("it begins with a forbidden word")
    if words[:1] == ["broken"]:
        return 1 / 0
    return (TaskCall("tasks.word", [word], {"queue": message.queue}) for word in words)


@pytest.fixture
def app():
    app = Celery("doors_app", broker="sqs://", set_as_current=False)
    doors = {"words": lines, "uploads": s3_notifications("tasks.ingest", store="uploads")}
    stores = {"uploads": "s3://uploads/input"}
    pipeline.install(app, "memory://doors", stores=stores, doors=doors, signing_key=b"k" * 16)
    yield app
    pipeline.uninstall()
    app.close()


def test_one_call_is_the_message_of_a_task(receive):
    """A foreign message with one call is a task's, signed where the app signs, with the receipt handle."""
    message = receive("hello")

    assert call_of(message) == ("tasks.word", ["hello"], {"queue": "words"})
    assert message.delivery_tag == "handle"
    assert message.headers["argsrepr"].startswith("<args and kwargs: ")


def test_the_id_of_a_task_follows_from_its_message(receive):
    """A message that is delivered again is the same task, and another message is another one."""
    ids = [receive("hello", number=number).headers["id"] for number in (1, 1, 2)]

    assert str(UUID(ids[0])) == ids[0] == ids[1] != ids[2]


def test_several_calls_are_one_task_that_publishes_them(receive):
    """Several calls in one message become a task that publishes each under an id of its own."""
    task, [calls], _ = call_of(receive("one two"))

    assert task == "claimcheck.split"
    assert [call[1:] for call in calls] == [
        ["tasks.word", [word], {"queue": "words"}, {}] for word in ("one", "two")
    ]
    assert len({call[0] for call in calls}) == 2


def test_several_calls_have_the_same_ids_again(receive):
    """A message whose task was interrupted is delivered again, and publishes its calls under the same ids."""
    first, second, other = (
        [call[0] for call in call_of(receive("a b c", number=number))[1][0]] for number in (1, 1, 2)
    )

    assert first == second
    assert not {*first} & {*other}


def test_a_reason_has_a_limit(app, receive):
    """A door that writes its message into the reason fills no log."""
    app.conf.broker_transport_options["doors"].by_queue["words"] = quote

    assert len(examine(receive("x" * 100_000)).fault) < 600


def quote(message):
    raise MalformedError(message.body)


def test_no_call_is_an_empty_message(receive):
    """A message without a call is marked, so that the worker deletes it alone."""
    assert receive(" ").is_empty
    assert not receive("hello").is_empty


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("bad word", "not read: malformed: it begins with a forbidden word"),
        ("broken", "not read: its door raised ZeroDivisionError"),
        ("x " * 1_001, "not read: malformed: it holds more than 1,000 task calls; send several messages"),
    ],
)
def test_what_a_door_raises_is_why_its_message_is_rejected(receive, body, why):
    """A malformed message and a broken door are reasons to reject, and the message stays as it is."""
    message = receive(body)

    assert examine(message).fault == why
    assert message.delivery_info["sqs_message"]["Body"] == body
    assert body not in repr(message.delivery_info)


def test_why_a_message_is_rejected_shows_nothing_of_it(app, receive):
    """Where arguments cannot be encoded, the reason does not name the path, which has keys of the message."""
    nested = "secret"
    for _ in range(600):
        nested = {"secret": nested}
    app.conf.broker_transport_options["doors"].by_queue["words"] = lambda _: [TaskCall("t", [nested])]

    assert examine(receive("x")).fault == (
        "not read: malformed: it nests too deep, or holds what no argument can be"
    )


def test_a_task_of_celery_goes_past_the_door(app, receive):
    """A retry of a worker, or a task that an app sends to the queue, is an envelope of Kombu as ever."""
    envelope = receive("hello")._raw
    again = {**envelope, "body": "W1sxXSwge30sIHt9XQ==", "content-type": "application/json"}
    again["properties"] = {"body_encoding": "base64", "delivery_info": {}}
    message = receive(json.dumps(again))

    assert message.body == b"[[1], {}, {}]"
    assert message.headers["task"] == "tasks.word"


@pytest.mark.parametrize(
    "body", ["True", "[]", "{}", "1", "1.0", "text", "dGV4dA==", '{"task": "x"}', "[" * 5_000]
)
def test_a_plain_body_on_a_queue_without_a_door(receive, body):
    """What is no task on a queue of tasks is a reason to reject, and the message stays as it is."""
    message = receive(body, queue="other")

    assert examine(message).fault
    assert message.delivery_info["sqs_message"]["Body"] == body


def test_a_sender_cannot_play_a_door(receive):
    """What an envelope says about doors is not believed."""
    info = {"door": {"is_empty": True, "fault": "", "removes": 1}}
    message = receive(json.dumps({"body": "", "properties": {"delivery_info": info}}), queue="other")

    assert (message.is_empty, message.removes) == (False, None)


def test_attributes_of_a_message_reach_the_door(app, receive):
    """A door sees text, numbers and bytes that the sender has set, and the worker asks SQS for them."""
    seen = []
    app.conf.broker_transport_options["doors"].by_queue["words"] = lambda message: seen.append(message) or []
    attributes = {
        "size": {"DataType": "Number", "StringValue": "12"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\0"},
    }
    receive("hello", MessageAttributes=attributes)

    assert seen == [ForeignMessage("hello", {"size": "12", "raw": b"\0"}, "message 1", "words")]
    assert receive.channel.get_message_attributes == {
        "MessageAttributeNames": ["All"],
        "MessageSystemAttributeNames": ["ApproximateReceiveCount", "MessageGroupId"],
    }


def test_a_main_process_reads_no_object(app, receive):
    """What ``inspect`` shows of a call does not read the object behind a text, and says which one it is."""
    handle = {"store": "uploads", "key": "input/x", "size_bytes": 3}
    text = StoredText(Handle.from_dict(handle))
    app.conf.broker_transport_options["doors"].by_queue["words"] = lambda _: [TaskCall("t", [text])]
    _, body = examine(receive("hello"))

    assert deferred_in(body).stored() == ([text], {})


def test_an_empty_message_is_counted(receive):
    """A worker deletes an empty message, and counts it for its queue."""
    sink = ListSink()
    consumer = ConsumerMixin.__new__(ConsumerMixin)
    consumer.recorder, consumer.connection_errors = Recorder(sink), ()
    message = receive(" ")
    consumer._delete_empty(message)
    consumer.recorder.close()

    assert message.acknowledged
    assert sink.total(MESSAGES_WITHOUT_TASK, queue="words") == 1


def unanswered(*_, **__):
    raise OperationalError("no answer")


def test_calls_that_were_not_published_go_back(app, caplog):
    """If a call of several cannot be published, the message is given back, and the log says so."""
    request = Context(id="1", task=SPLIT, delivery_info={"routing_key": "words"}, properties={})
    task = SimpleNamespace(request=request, app=SimpleNamespace(send_task=unanswered))

    with pytest.raises(Reject) as caught:
        split(task, [["2", "tasks.word", [], {}, {}]])
    assert caught.value.requeue
    assert "calls not published, message given back" in caplog.text


def test_a_message_group_is_kept(receive):
    """The task of a message of a FIFO queue has its group, so a retry has it too."""
    assert receive("one", Attributes={"MessageGroupId": "a"}).properties["MessageGroupId"] == "a"


def test_commands_know_the_queues_of_doors(app):
    """A queue that only a door names is among the app's queues."""
    assert "words" in _task_queues(app)


def test_uninstall_closes_doors(app):
    """After uninstall no option, no task and no door is left."""
    pipeline.uninstall()

    assert "doors" not in app.conf.broker_transport_options
    assert "claimcheck.split" not in app.tasks


LARGE = 1_048_576
ENVELOPE = (
    '{"content-type":"application/json","content-encoding":"utf-8","headers":{},"properties":{},"body":'
)


@pytest.mark.parametrize(
    "body",
    [
        "w" * LARGE,
        "w " * (LARGE // 2),
        "[" * LARGE,
        "\\" * LARGE,
        "{}," * (LARGE // 3),
        f"[{','.join(['{}'] * (LARGE // 3 - 1))}]",
        f'{{"body":[{",".join(["{}"] * (LARGE // 3 - 10))}]}}',
        base64.b64encode(b"[" * 786_000).decode(),
        "é" * (LARGE // 2),
    ],
    ids=["a word", "words", "brackets", "backslashes", "maps", "a list", "a body", "base64", "not ASCII"],
)
def test_no_message_holds_up_the_worker(receive, body):
    """A message of 1 MiB takes a worker less than 100 ms of CPU, at the best of three."""
    assert min(seconds(receive, body) for _ in range(3)) < 0.1


def test_many_records_do_not_hold_up_the_worker(receive):
    """As many calls as one message may hold take a worker less than 100 ms of CPU, at the best of three."""
    record = {
        "eventName": "x",
        "s3": {"bucket": {"name": "uploads"}, "object": {"key": "input/" + "k" * 800}},
    }
    body = json.dumps({"Records": [record] * 1_000})

    assert call_of(receive(body, queue="uploads"))[0] == "claimcheck.split"
    assert min(seconds(receive, body, "uploads") for _ in range(3)) < 0.1


def seconds(receive, body, queue="words"):
    start = process_time()
    examine(receive(body, queue=queue))
    return process_time() - start


@settings(
    max_examples=2 * settings.default.max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_no_message_makes_a_channel_raise(receive, body):
    """Whatever is sent to a queue with a door is a task, an empty message, or one with a reason to reject."""
    message = receive(body)

    assert examine(message).fault or message.is_empty or message.headers["task"]

"""Doors of SNS and EventBridge: a task gets what was published, whether it travelled itself or as a claim."""

import json

import pytest
from event_services import ARN, LARGE, Service, bus, topic
from kombu.utils import json as kombu_json

import pipeline
from pipeline.claimcheck.handles.late_arguments import loaded
from pipeline.claimcheck.sharing import shares_of
from pipeline.doors import ForeignMessage, eventbridge, sns
from pipeline.doors.setup import check
from pipeline.errors import MalformedError, PayloadCorruptError, PayloadMissingError
from pipeline.events import Event
from pipeline.serializer import serializer

pytestmark = pytest.mark.usefixtures("claimcheck")

EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def published(value, **attributes):
    """Return what SNS is sent."""
    service = Service()
    topic(service).publish(value, attributes)
    return service.calls[0][0]


def wrapped(value, **attributes):
    """Return what SNS makes of it for a queue. Source: SNS Developer Guide, "Parsing message formats"."""
    sent = published(value, **attributes)
    given = sent.get("MessageAttributes", {}).items()
    return {
        "Type": "Notification",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "TopicArn": ARN,
        "Message": sent["Message"],
        "Timestamp": "2026-01-01T00:00:00.000Z",
        "SignatureVersion": "1",
        "MessageAttributes": {
            name: {"Type": each["DataType"], "Value": each["StringValue"]} for name, each in given
        },
    }


def bridged(detail, **more):
    """Return what EventBridge sends to a queue."""
    service = Service()
    bus(service).put_events([Event("created", detail)])
    sent = service.calls[0][0]
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": sent["DetailType"],
        "source": sent["Source"],
        "account": "123456789012",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": json.loads(sent["Detail"]),
        **more,
    }


def call(door, body, queue="orders", **attributes):
    text = body if isinstance(body, str) else json.dumps(body)
    [found] = door(ForeignMessage(text, attributes, "sqs-id", queue))
    return found


def through(found):
    """Return the argument of a call as its task gets it."""
    args, _, _ = serializer.decode(serializer.encode((list(found.args), {}, EMBED)))
    return loaded(args[0])


@pytest.mark.parametrize("value", [None, 1, "text", [1], {"a": 1}, LARGE, {"claimcheck": 1}])
def test_a_value_arrives(value):
    """What was published arrives equal, raw and wrapped, small and large."""
    body = published(value)["Message"]

    assert through(call(sns("t", raw=True), body)) == value
    assert through(call(sns("t"), wrapped(value))) == value


@pytest.mark.parametrize("detail", [{}, {"a": [1]}, LARGE])
def test_a_detail_arrives(detail):
    """So does the detail of an event, also where a rule sends it alone."""
    event = bridged(detail)

    assert through(call(eventbridge("t"), event)) == detail
    assert through(call(eventbridge("t", bare=True), event["detail"])) == detail


def test_a_handle_arrives():
    """What was published as a handle arrives as one."""
    handle = pipeline.put(b"content")

    assert call(sns("t"), wrapped(handle)).args == [handle]
    assert call(eventbridge("t"), bridged(handle)).args == [handle]


def test_kombu_writes_what_stands_for_values():
    """An application whose serializer is JSON gets values, too."""
    for value in (LARGE, [1, 2]):
        found = call(sns("t"), wrapped(value))
        assert loaded(kombu_json.loads(kombu_json.dumps(found.args[0]))) == value


def test_attributes_are_arguments():
    """A door passes the attributes that it names, as text, raw and wrapped."""
    names = ("kind", "amount", "absent")
    body = wrapped(1, kind="created", amount=7, more="x")
    raw = sns("t", attributes=names, raw=True)

    assert call(sns("t", attributes=names), body).kwargs == {"kind": "created", "amount": "7"}
    assert call(raw, "1", kind="created", amount="7", more="x").kwargs == {"kind": "created", "amount": "7"}


def test_fields_are_arguments():
    """A door passes the fields of an event that it names."""
    door = eventbridge("t", fields=("source", "detail_type", "id", "replay_name"))

    assert call(door, bridged({})).kwargs == {
        "source": "shop",
        "detail_type": "created",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "replay_name": None,
    }


def test_a_value_that_counts_its_tasks():
    """The claim of a value with subscribers names its ledger, and that of another does not."""
    service = Service()
    topic(service, subscribers=2).publish(LARGE)
    found = call(sns("t", raw=True), service.calls[0][0]["Message"])
    handle = pipeline.put(b"content", uses=1)

    assert [each.key for each in shares_of([found.args[0].handle])] == [found.args[0].handle.key]
    assert [each.key for each in shares_of([call(sns("t"), wrapped(handle)).args[0]])] == [handle.key]
    assert not isinstance(call(sns("t"), wrapped(LARGE)).args[0], pipeline.Handle)


def test_a_payload_that_is_gone():
    """The error of a value that has expired says what it belonged to, and what to do."""
    found = call(sns("t"), wrapped(LARGE))
    found.args[0].handle.delete()

    with pytest.raises(PayloadMissingError, match=r"payload of an event missing .*replay archives within"):
        loaded(found.args[0])


@pytest.mark.parametrize("value", [1, LARGE])
def test_ids_of_tasks(value):
    """A copy of a message on the same queue has the same task id, and on another queue another one."""
    body, door = wrapped(value), sns("t")

    assert call(door, body).task_id == call(door, body).task_id
    assert call(door, body).task_id != call(door, body, queue="other").task_id
    assert call(door, body).task_id != call(door, wrapped(value) | {"MessageId": "2"}).task_id
    raw = call(sns("t", raw=True), body["Message"]).task_id
    assert (raw is None) == (value == 1)


def test_ids_of_replays():
    """A replayed event is a task of its own."""
    event, door = bridged({}), eventbridge("t")

    assert call(door, event).task_id == call(door, event).task_id
    assert call(door, event).task_id != call(door, event | {"replay-name": "again"}).task_id


OTHERS = {"claimcheck": {"store": "uploads", "key": "input/x"}}


@pytest.mark.parametrize(
    ("door", "body", "reason"),
    [
        (sns("t"), "{}", "no notification of SNS"),
        (sns("t"), wrapped, "'Type' is another"),
        (sns("t"), "1", "raw=True"),
        (sns("t", raw=True), "text", "not JSON"),
        (sns("t", raw=True), "", "not JSON"),
        (sns("t", raw=True), "[" * 5_000, "not JSON"),
        (sns("t", raw=True), OTHERS, "no payload of this app's store"),
        (sns("t", raw=True, stores=("uploads",)), OTHERS, "no payload of this app's store"),
        (sns("t", raw=True), {"claimcheck": {"store": "default", "key": "claims/v1/x"}}, "no payload"),
        (sns("t", raw=True), {"claimcheck": "x"}, "none of this app's"),
        (sns("t", raw=True), '{"claimcheck": "\\ud800"}', "not JSON"),
        (sns("t", raw=True), {"claimcheck": {"key": "x" * 20_000}}, "larger than 16,384 bytes"),
        (eventbridge("t"), "{}", "no event of EventBridge"),
        (eventbridge("t"), "1", "no event of EventBridge"),
    ],
)
def test_what_is_malformed(door, body, reason):
    """What is no event, and a claim of anything but the app's own payloads, is malformed."""
    if callable(body):
        body = wrapped(1) | {"Type": "SubscriptionConfirmation"}
    with pytest.raises(MalformedError, match=reason):
        call(door, body)


def test_ids_of_claims_are_short():
    """A claim with an absurd id is malformed."""
    claim = json.loads(published(LARGE)["Message"])
    for name in (1, "x" * 101):
        claim["claimcheck"]["id"] = name
        with pytest.raises(MalformedError, match="short text"):
            call(sns("t", raw=True), claim)


@pytest.mark.usefixtures("others")
def test_stores_that_a_door_lists():
    """A handle of a further store passes the door that lists that store, and no other."""
    body = {"claimcheck-handle": {"store": "uploads", "key": "input/x"}}

    assert call(sns("t", raw=True, stores=("uploads",)), body).args[0].key == "input/x"
    with pytest.raises(MalformedError, match="does not list"):
        call(sns("t", raw=True), body)
    with pytest.raises(ValueError, match="not among the stores"):
        check({"queue": sns("t", stores=("elsewhere",))}, {"uploads": None})


@pytest.mark.parametrize("named", [{"fields": ("detail",)}, {"fields": ("id",), "bare": True}])
def test_fields_that_an_event_has_not(named):
    """An unknown field is an error where the door is made."""
    with pytest.raises(ValueError, match="expected some of"):
        eventbridge("t", **named)


def test_json_that_is_corrupt():
    """What another door or serializer has passed on as JSON, and is none, fails at the task's boundary."""
    for broken in (kombu_json.loads('{"__type__": "claimcheck-json", "__value__": 1}'),):
        with pytest.raises(PayloadCorruptError, match="not JSON"):
            loaded(broken)
        assert repr(broken) == "<JSON of 0 characters>"

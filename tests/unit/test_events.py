"""Events for SNS and EventBridge: what travels, in which calls, and what becomes of those that fail."""

import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from event_services import Service

import pipeline
from pipeline.errors import EventSendError, PayloadEncodeError, PayloadTooLargeError
from pipeline.events import Event, EventBus, Notification, Topic, sending

pytestmark = pytest.mark.usefixtures("claimcheck")

ARN = "arn:aws:sns:eu-central-1:000000000000:orders"
LIMIT = 2_000
LARGE = {"kind": "created", "text": "x" * 3_000}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Send again at once."""
    monkeypatch.setattr(sending, "BACKOFF_SECONDS", 0)


def topic(service, arn=ARN, **settings):
    return Topic(arn, LIMIT, client=service, **settings)


def bus(service, **settings):
    return EventBus("orders", source="shop", limit_bytes=LIMIT, client=service, **settings)


def keys(store):
    return [each.key for each in store.list()]


class TestWhatTravels:
    """A value as JSON, a claim, or a handle."""

    @pytest.mark.parametrize("value", [None, True, 2**70, 1.5, "", "text", [1, [2]], {"a": {"b": None}}])
    def test_a_value_as_json(self, value, store):
        """What JSON has travels as JSON, and nothing is stored."""
        service = Service()
        topic(service).publish(value)

        assert json.loads(service.calls[0][0]["Message"]) == value
        assert keys(store) == []

    @pytest.mark.parametrize(
        "value",
        [
            LARGE,
            (1, 2),
            {1: "a"},
            b"bytes",
            datetime(2026, 1, 1, tzinfo=UTC),
            float("inf"),
            "\udc00",
            {"claimcheck": {"store": "default"}},
            {"claimcheck-handle": 1},
        ],
    )
    def test_a_claim(self, value, store):
        """What is large, what JSON would change and what looks like a claim travels as a claim."""
        service = Service()
        topic(service).publish(value)
        claim = json.loads(service.calls[0][0]["Message"])["claimcheck"]

        assert keys(store) == [claim["key"]]
        loaded = pipeline.Handle.from_dict(claim).load()
        assert loaded == (list(value) if isinstance(value, tuple) else value)
        assert len(claim["id"]) == 32

    def test_a_handle(self, store):
        """A handle travels as one, under its own field, and stays if the message fails."""
        handle = pipeline.put(b"content", name="a.txt")
        service = Service()
        topic(service).publish(handle)
        named = json.loads(service.calls[0][0]["Message"])["claimcheck-handle"]
        with pytest.raises(EventSendError):
            topic(Service({0: "InvalidParameter"})).publish(handle)

        assert pipeline.Handle.from_dict(named) == handle
        assert keys(store) == [handle.key]

    def test_what_cannot_be_stored(self, store):
        """A value that nothing can write is an error, and what was stored before it is deleted."""
        with pytest.raises(PayloadEncodeError):
            topic(Service()).publish_batch([Notification(value=LARGE), Notification(value=object())])
        with pytest.raises(PayloadEncodeError):
            bus(Service()).put_events([Event("created", LARGE), Event("created", {"a": object()})])

        assert keys(store) == []


class TestAttributes:
    """Attributes of SNS, for filter policies."""

    def test_types(self):
        """Each type of Python has its type of SNS."""
        service = Service()
        given = {"s": "created", "n": 7, "d": Decimal("1.50"), "t": True, "a": ["x", 1, None], "b": b"\0"}
        topic(service).publish(1, given)

        assert service.calls[0][0]["MessageAttributes"] == {
            "s": {"DataType": "String", "StringValue": "created"},
            "n": {"DataType": "Number", "StringValue": "7"},
            "d": {"DataType": "Number", "StringValue": "1.50"},
            "t": {"DataType": "String", "StringValue": "true"},
            "a": {"DataType": "String.Array", "StringValue": '["x", 1, null]'},
            "b": {"DataType": "Binary", "BinaryValue": b"\0"},
        }

    @pytest.mark.parametrize("value", ["", b"", None, float("nan"), Decimal("Infinity"), {}, [{}], object()])
    def test_what_sns_has_not(self, value, store):
        """Any other value is an error of its caller, and nothing is stored."""
        with pytest.raises(ValueError, match="attribute 'kind'"):
            topic(Service()).publish(LARGE, {"kind": value})

        assert keys(store) == []

    def test_more_than_sqs_takes(self):
        """With more than ten, SNS would not deliver to a queue that takes messages raw."""
        with pytest.raises(ValueError, match="11 attributes"):
            topic(Service()).publish(1, {str(n): 1 for n in range(11)})

    def test_attributes_count(self, store):
        """Attributes count towards the limit; above it, the payload does not stay."""
        service = Service()
        topic(service).publish("x" * 1_000, {"kind": "y" * 1_100})
        with pytest.raises(PayloadTooLargeError, match="of which 2"):
            topic(service).publish(1, {"kind": "y" * LIMIT})

        assert list(json.loads(service.calls[0][0]["Message"])) == ["claimcheck"]
        assert len(keys(store)) == 1


class TestCalls:
    """Entries in calls of ten, and of the size that a call may have."""

    def test_tens(self):
        """Ten at most travel in a call, and the ids come back in order."""
        service = Service()
        ids = topic(service).publish_batch([Notification(value=n) for n in range(23)])

        assert [len(each) for each in service.calls] == [10, 10, 3]
        assert ids == [f"m{n}" for n in range(23)]

    def test_sizes(self):
        """A call is no larger than a message may be."""
        service = Service()
        topic(service).publish_batch([Notification(value="x" * 900) for _ in range(5)])

        assert [len(each) for each in service.calls] == [2, 2, 1]

    def test_fifo(self):
        """Of a message group one travels in a call; behind a failed one, the group's others are not sent."""
        service = Service({0: "InvalidParameter"})
        fifo = topic(service, f"{ARN}.fifo")
        with pytest.raises(EventSendError) as raised:
            fifo.publish_batch([Notification(value=n, group="ab"[n % 2]) for n in range(4)])

        assert [[each["Message"] for each in call] for call in service.calls] == [["0", "1"], ["3"]]
        assert raised.value.failed == ((0, "InvalidParameter", True), (2, "PredecessorFailed", True))
        names = {each["MessageDeduplicationId"] for call in service.calls for each in call}
        assert len(names) == 3

    def test_fifo_needs_a_group(self):
        """A FIFO topic's message without a group is an error of its caller."""
        with pytest.raises(ValueError, match="needs one"):
            topic(Service(), f"{ARN}.fifo").publish(1)


def client_error(code, status=400):
    metadata = {"HTTPStatusCode": status, "RetryAttempts": 0}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "Publish")


class TestFailures:
    """Failed entries are sent again if that may help, and raised one by one."""

    def test_transient(self):
        """Only what failed for now is sent again."""
        service = Service({1: "ThrottlingException"}, {0: "InternalFailure"})
        ids = bus(service).put_events([Event("created", {"n": n}) for n in range(3)])

        assert [[json.loads(e["Detail"])["n"] for e in call] for call in service.calls] == [
            [0, 1, 2],
            [1],
            [1],
        ]
        assert ids == ["e0", "e0", "e2"]

    def test_each_is_named(self, store):
        """An entry that failed for good is in the error with its place, and its payload is deleted."""
        service = Service({1: "NotAuthorizedForDetailType"})
        with pytest.raises(EventSendError, match=r"1 .to=orders, code=NotAuthorizedForDetailType") as raised:
            bus(service).put_events([Event("created", LARGE) for _ in range(3)])

        assert raised.value.failed == ((1, "NotAuthorizedForDetailType", True),)
        assert pickle.loads(pickle.dumps(raised.value)).failed == raised.value.failed
        assert len(keys(store)) == 2

    @pytest.mark.parametrize(
        ("answer", "is_certain"),
        [
            (client_error("AuthorizationError", 403), True),
            (client_error("ThrottlingException"), True),
            (client_error("InternalFailure", 500), False),
            (ReadTimeoutError(endpoint_url="http://x"), False),
            ({0: "InternalError"}, False),
        ],
    )
    @pytest.mark.parametrize("target", ["topic", "bus"])
    def test_a_call_fails(self, answer, is_certain, target, store):
        """A payload is deleted if its event was certainly not sent, and stays if it may have been."""
        service = Service(*[answer] * sending.ATTEMPTS)
        put, publish = bus(service).put_events, topic(service).publish
        with pytest.raises(EventSendError) as raised:
            put([Event("created", LARGE)]) if target == "bus" else publish(LARGE)

        assert [each.is_certain for each in raised.value.failed] == [is_certain]
        assert len(keys(store)) == (not is_certain)

    def test_unclear_once(self, store):
        """What may have been sent in one attempt stays unclear, whatever a later one says."""
        answers = client_error("InternalFailure", 500), client_error("AuthorizationError", 403)
        with pytest.raises(EventSendError) as raised:
            topic(Service(*answers)).publish(LARGE)

        assert raised.value.failed == ((0, "AuthorizationError", False),)
        assert len(keys(store)) == 1

    def test_interrupted(self, store):
        """An interrupted call may have arrived; what was not sent yet leaves nothing behind."""
        service = Service(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            topic(service).publish_batch([Notification(value=LARGE) for _ in range(15)])

        assert 0 < len(keys(store)) == len(service.calls[0]) < 15

    def test_no_answer_for_an_entry(self):
        """Of an entry that the answer does not name nothing is known."""

        class Silent(Service):
            def publish_batch(self, **_):
                return {}

        with pytest.raises(EventSendError) as raised:
            topic(Silent()).publish(1)

        assert raised.value.failed == ((0, "no answer", False),)


class TestEvents:
    """Events of EventBridge."""

    def test_a_small_one(self):
        """A detail within the limit travels as it is."""
        service = Service()
        when = datetime(2026, 1, 1, tzinfo=UTC)
        bus(service).put_events([Event("created", {"n": 1}, resources=["arn:x"], time=when)])

        assert service.calls == [
            [
                {
                    "EventBusName": "orders",
                    "Source": "shop",
                    "DetailType": "created",
                    "Resources": ["arn:x"],
                    "Time": when,
                    "Detail": '{"n":1}',
                }
            ]
        ]

    def test_a_large_one(self, store):
        """Of a large detail the claim travels, and the fields that rules match on."""
        service = Service()
        bus(service, keep=("kind", "missing")).put_events([Event("created", LARGE, source="other")])
        detail = json.loads(service.calls[0][0]["Detail"])

        assert detail["kind"] == "created"
        assert set(detail) == {"kind", "claimcheck"}
        assert pipeline.Handle.from_dict(detail["claimcheck"]).load() == LARGE
        assert keys(store)[0].startswith("claims/handles/30d/")
        assert service.calls[0][0]["Source"] == "other"

    def test_a_handle(self):
        """A handle travels with the fields that the caller gives."""
        service = Service()
        handle = pipeline.put(b"content")
        bus(service).put_events([Event("stored", handle, fields={"size": 7})])

        detail = json.loads(service.calls[0][0]["Detail"])
        assert detail["size"] == 7
        assert pipeline.Handle.from_dict(detail["claimcheck-handle"]) == handle

    def test_the_limit_is_of_the_whole(self):
        """Source, type, resources and time count, too."""
        for beside in ({"detail_type": "x" * 100}, {"resources": ["y" * 100]}):
            service = Service()
            event = {"detail_type": "created", "detail": {"text": "z" * 1_900}, **beside}
            bus(service).put_events([Event(**event)])

            assert list(json.loads(service.calls[0][0]["Detail"])) == ["claimcheck"]

    def test_too_much_is_kept(self, store):
        """If what is kept is too large, nothing is sent and nothing stays."""
        with pytest.raises(PayloadTooLargeError, match="keep fewer fields"):
            bus(Service(), keep=("text",)).put_events([Event("created", LARGE)])

        assert keys(store) == []

    @pytest.mark.parametrize("field", [b"x", (1,), object()])
    def test_a_field_that_json_has_not(self, field, store):
        """A field beside a claim arrives equal, or its event is an error."""
        with pytest.raises(PayloadEncodeError, match="fields=kind"):
            bus(Service()).put_events([Event("created", pipeline.put(b""), fields={"kind": field})])
        if type(field) is not object:
            with pytest.raises(PayloadEncodeError, match="fields=kind"):
                bus(Service(), keep=("kind",)).put_events([Event("created", LARGE | {"kind": field})])

        assert len(keys(store)) == 1

    @pytest.mark.parametrize("detail", [[1], "text", None])
    def test_a_detail_is_a_dict(self, detail):
        """EventBridge takes objects alone."""
        with pytest.raises(PayloadEncodeError, match="is a dict or a handle"):
            bus(Service()).put_events([Event("created", detail)])

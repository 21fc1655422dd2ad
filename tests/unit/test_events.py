"""Events for SNS and EventBridge: what travels."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from event_services import LARGE, LIMIT, Service, bus, keys, topic

import pipeline
from pipeline.errors import EventSendError, PayloadEncodeError, PayloadTooLargeError
from pipeline.events import Event, Notification

pytestmark = pytest.mark.usefixtures("claimcheck")


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

"""Claims in events: signed where the app has a key, and those that a pipe's enrichment has made."""

import json
import random

import pytest
from event_services import LARGE, Service, bus, topic

import pipeline
from pipeline.aws_lambda import Enrichment
from pipeline.claimcheck.claim_token import FIELD
from pipeline.claimcheck.handles.late_arguments import StoredEvent, loaded
from pipeline.doors import ForeignMessage, eventbridge, sns
from pipeline.errors import MalformedError, PayloadMissingError
from pipeline.events import Event
from pipeline.serializer import serializer

KEY = b"k" * 16
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
ORDER = {"kind": "created", "text": "x" * 3_000}

pytestmark = pytest.mark.usefixtures("claimcheck")


@pytest.fixture
def options():
    return {"signing_key": KEY}


def sent(value):
    service = Service()
    topic(service).publish(value)
    return json.loads(service.calls[0][0]["Message"])


def read(event, door=None):
    [call] = (door or sns("t", raw=True))(ForeignMessage(json.dumps(event), {}, "id", "queue"))
    return call.args[0]


def shuffled(event):
    """Return JSON as EventBridge may write it anew: with its fields in another order."""
    items = list(event.items())
    random.Random(3).shuffle(items)
    return {name: shuffled(each) if isinstance(each, dict) else each for name, each in items}


@pytest.mark.parametrize("door", [sns("t", raw=True), eventbridge("t", bare=True)])
def test_what_is_signed_arrives(door):
    """The claim of a value, and a handle, have a signature, which stands another order of fields."""
    handle = pipeline.put(b"content", name="März.txt")

    assert loaded(read(shuffled(sent(LARGE)), door)) == LARGE
    assert read(shuffled(sent(handle)), door) == handle


def test_fields_beside_it_are_not_signed():
    """Fields that rules match on may be changed by an input transformer."""
    service = Service()
    bus(service, keep=("kind",)).put_events([Event("created", LARGE)])
    detail = json.loads(service.calls[0][0]["Detail"]) | {"kind": "other"}

    assert loaded(read(detail, eventbridge("t", bare=True))) == LARGE


def forged(event, **changes):
    """Return an event whose claim says something else, or whose signature is another."""
    [name] = event
    claim = {key: value for key, value in (event[name] | changes).items() if value is not None}
    return {name: claim}


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None}, {"signature": ""}, {"signature": 1}, {"signature": "é"}, {"signature": "0" * 64},
        {"id": "another"}, {"size_bytes": 8}, {"more": "x"}, {"digest": "blake3:" + "0" * 64},
    ],
)  # fmt: skip
def test_what_is_not_signed_is_malformed(changes):
    """With a key, a claim or a handle that this app did not make is not read."""
    for value in (LARGE, pipeline.put(b"content")):
        with pytest.raises(MalformedError, match="not signed with this app's signing_key"):
            read(forged(sent(value), **changes))


def test_a_claim_is_no_handle():
    """The signature says which of the two it is for."""
    claim = sent(LARGE)["claimcheck"]

    with pytest.raises(MalformedError, match="not signed"):
        read({"claimcheck-handle": claim})


@pytest.mark.parametrize("options", [{"signing_key": KEY, "accept_unsigned": True}])
def test_while_a_key_is_rolled_out(options):
    """What has no signature is accepted, and a wrong one is not."""
    event = sent(LARGE)

    assert loaded(read(forged(event, signature=None))) == LARGE
    with pytest.raises(MalformedError, match="not signed"):
        read(forged(event, signature="0" * 64))


@pytest.fixture
def split(store):
    """What an enrichment of a pipe makes of an order, with the app's store and key."""
    return Enrichment(store, signing_key=KEY).split(ORDER)


def test_what_a_pipe_has_split_arrives(split):
    """A task gets the payload of an event that a pipe's enrichment has split, under the same id again."""
    event = {"id": "1", "source": "Pipe orders", "detail-type": "Event", "detail": split}
    found = read(event, eventbridge("t"))
    args, _, _ = serializer.decode(serializer.encode(([found], {}, EMBED)))

    assert loaded(args[0]) == ORDER
    assert loaded(read(split)) == ORDER
    assert split[FIELD] not in repr(found)


def test_a_text_that_a_pipe_has_split(store):
    """A body that is no JSON arrives as it was."""
    record = {"messageId": "1", "body": "no JSON"}

    assert loaded(read(Enrichment(store, signing_key=KEY).split(record))) == "no JSON"


def test_a_payload_of_a_pipe_that_is_gone(split, store):
    """The error of a payload that has expired says what to do."""
    found = read(split)
    store.delete([each.key for each in store.list()])

    with pytest.raises(PayloadMissingError, match="replay archives within the payload_ttl_seconds"):
        loaded(found)


@pytest.mark.parametrize("other", [{}, {"signing_key": b"x" * 16}, {"alias": "other", "signing_key": KEY}])
def test_others_cannot_split_for_this_app(other, store):
    """The claim of an enrichment with another key or alias is malformed, before anything is read."""
    event = Enrichment(store, **other).split(ORDER)

    with pytest.raises(MalformedError, match="none of this app's, or is not signed by it"):
        read(event)


def test_what_stands_for_an_event_is_bounded():
    """A broken one fails at the task's boundary."""
    with pytest.raises(pipeline.ClaimError):
        loaded(StoredEvent("not Base64"))

"""Which bodies travel inline, which are offloaded, and which are too large for both."""

import pytest
from celery import Celery
from task_bodies import NO_SIGNATURES, payload_of, task_body

from pipeline.claimcheck.claim import Claim, Inline
from pipeline.claimcheck.message_size import Envelope
from pipeline.errors import (
    PayloadTooLargeError,
)
from pipeline.serializer import serializer
from pipeline.serializer.encoding import CLAIM_BYTES
from pipeline.serializer.publication import Publication, publishing


def test_a_small_body_travels_inline(claimcheck, store):
    """A body that fits costs no call to the store, and comes back equal."""
    body = serializer.encode(task_body(1, name="x"))
    args, kwargs, embed = serializer.decode(body)

    assert isinstance(payload_of(body), Inline)
    assert (list(args), dict(kwargs), embed) == ([1], {"name": "x"}, NO_SIGNATURES)
    assert store.calls == {}


def test_a_large_body_is_offloaded(claimcheck, store, noise):
    """A body over the threshold costs one put, one get, and travels as a claim of a few hundred bytes."""
    body = serializer.encode(task_body(noise))
    args, _, _ = serializer.decode(body)

    assert isinstance(payload_of(body), Claim)
    assert len(body) < CLAIM_BYTES + 64
    assert list(args) == [noise]
    assert store.calls == {"put": 1, "get": 1}


def test_a_body_that_fits_once_compressed_travels_inline(claimcheck, store):
    """The decision is made after compression: a megabyte of text needs no store."""
    body = serializer.encode(task_body("all work and no play " * 50_000))

    assert isinstance(payload_of(body), Inline)
    assert store.calls == {}


@pytest.mark.parametrize("threshold", [0])
def test_a_threshold_of_zero_sends_everything_through_the_store(claimcheck, store):
    """With threshold 0 the smallest body is offloaded."""
    body = serializer.encode(task_body())

    assert isinstance(payload_of(body), Claim)
    assert [list(part) for part in serializer.decode(body)[:2]] == [[], []]


def test_headers_count_towards_the_threshold(claimcheck, noise):
    """What decides is the weight on the wire, headers included."""
    small = noise[:100_000]
    heavy = {"stamps": "x" * 140_000}

    with publishing(Publication(envelope=Envelope(headers={}))):
        assert isinstance(payload_of(serializer.encode(task_body(small))), Inline)
    with publishing(Publication(envelope=Envelope(headers=heavy))):
        assert isinstance(payload_of(serializer.encode(task_body(small))), Claim)


def test_a_large_value_that_is_no_result_stays_in_the_message(claimcheck, store, noise):
    """A value that no worker would release is not offloaded."""
    assert serializer.decode(serializer.encode({"value": noise})) == {"value": noise}
    assert store.calls == {}


@pytest.fixture
def eager(claimcheck):
    """An app that runs its tasks at once, in the process that calls them."""
    app = Celery("eager", broker="memory://", set_as_current=False)
    app.conf.update(task_always_eager=True, task_serializer=serializer.NAME)
    yield app
    app.close()


def test_an_eager_call_stores_nothing(eager, store, noise):
    """An eager call stores nothing and needs no store: its arguments stay in the caller's process."""

    @eager.task(shared=False)
    def look(content, **more):
        return content, more

    assert look.delay(noise).get() == (noise, {})
    assert look.apply_async((noise,)).get() == (noise, {})
    assert look.delay(content=noise, a=1).get() == (noise, {"a": 1})
    assert store.calls == {}


@pytest.mark.parametrize("options", [{"payload_limit_bytes": 1000}])
def test_a_payload_over_the_limit_raises(claimcheck, store):
    """The error names size, limit and setting, and nothing is stored."""
    with pytest.raises(PayloadTooLargeError, match=r"2\d{3} bytes, and payload_limit_bytes is 1000"):
        serializer.encode(task_body("x" * 2000))

    assert store.calls == {}


def test_headers_over_the_broker_s_limit_raise(claimcheck):
    """A message that is too large even with its payload offloaded raises an error before it is sent."""
    with (
        publishing(Publication(envelope=Envelope(headers={"stamps": "x" * 1_100_000}))),
        pytest.raises(PayloadTooLargeError, match="broker_limit_bytes is 1048576"),
    ):
        serializer.encode(task_body())


def test_large_signatures_join_the_payload(claimcheck, store, noise):
    """Arguments of callbacks and chains that are too big to travel are offloaded with the task's own."""
    link = {"task": "later", "args": [noise], "kwargs": {"k": 1}, "options": {}, "subtask_type": None}
    body = serializer.encode(task_body(1, embed={**NO_SIGNATURES, "chain": [link]}))
    args, _, embed = serializer.decode(body)

    assert len(body) < 2_000
    assert not isinstance(embed["chain"][0]["args"], (list, tuple))
    assert list(args) == [1]
    assert embed["chain"] == [link]
    assert store.calls == {"put": 1, "get": 1}

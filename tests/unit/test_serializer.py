"""The Kombu end: inline or offloaded, never both, and total on the way back."""

import pickle
from dataclasses import replace

import pytest
from celery import Celery
from celery.exceptions import Reject
from kombu import serialization
from kombu.exceptions import EncodeError
from task_bodies import NO_SIGNATURES, payload_of, task_body

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Message
from pipeline.claimcheck.message_size import Envelope
from pipeline.deferred.body import DeferredArgs, DeferredKwargs, deferred_in
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    PayloadMissingError,
    StoreUnavailableError,
)
from pipeline.serializer import serializer
from pipeline.serializer.publication import Publication, publishing
from pipeline.testing import FaultyStore

SECRET = "top secret text"


def test_decoding_reads_nothing(claimcheck, store, noise):
    """Decoding, unpacking, testing, printing and pickling a body are free of I/O."""
    body = serializer.decode(serializer.encode(task_body(noise, name="x")))
    args, kwargs, embed = body

    assert body
    assert "args" not in body
    assert embed == NO_SIGNATURES
    assert noise[:8].hex() not in repr(body)
    assert len(pickle.dumps((args, kwargs))) < 2_000
    assert store.calls == {"put": 1}


def test_a_pickled_body_can_be_read_elsewhere(claimcheck, store, noise):
    """What crosses the pool's pipe before the payload is read is a claim; afterwards, plain values."""
    args, kwargs, _ = serializer.decode(serializer.encode(task_body(noise, name="x")))
    copies = pickle.loads(pickle.dumps((args, kwargs)))

    assert [type(copy) for copy in copies] == [DeferredArgs, DeferredKwargs]
    assert (list(copies[0]), dict(copies[1])) == ([noise], {"name": "x"})
    assert [type(copy) for copy in pickle.loads(pickle.dumps(copies))] == [list, dict]


def test_args_and_kwargs_share_one_read(claimcheck, store, noise):
    """However often both are looked at, the store is read once."""
    args, kwargs, _ = serializer.decode(serializer.encode(task_body(noise, a=1)))

    assert (len(args), args[0], [*args], kwargs["a"], len(kwargs), {**kwargs}) == (
        1, noise, [noise], 1, 1, {"a": 1},
    )  # fmt: skip
    assert args == [noise]
    assert args + [2] == [noise, 2]
    assert [1] + args == [1, noise]
    assert (1,) + args == (1, noise)
    assert args != "text"
    assert store.calls["get"] == 1


def test_a_failure_is_remembered(claimcheck, store, noise):
    """An attempt that could not read its payload does not read it again, and fails the same way."""
    body = serializer.encode(task_body(noise))
    store.delete([payload_of(body).key])
    args, kwargs, _ = serializer.decode(body)

    for look in (lambda: list(args), lambda: dict(kwargs)):
        with pytest.raises(PayloadMissingError):
            look()

    assert store.calls["get"] == 1


def test_outside_a_task_the_error_itself_is_raised(claimcheck):
    """Only where a task runs does an error become Celery's Reject."""
    args, _, _ = serializer.decode(b"garbage")

    with pytest.raises(ClaimError):
        list(args)


@pytest.mark.parametrize(
    ("error", "requeue"), [(StoreUnavailableError("later"), True), (PayloadMissingError("never"), False)]
)
@pytest.mark.parametrize("options", [{"store_retry_seconds": 0.01}])
def test_inside_a_task_errors_become_outcomes(claimcheck, store, noise, error, requeue):
    """Unavailable means redelivery; everything else means the dead-letter queue."""
    app = Celery("outcomes", set_as_current=False)
    body = serializer.encode(task_body(noise))
    serializer.install(replace(claimcheck, store=FaultyStore(store, [error] * 9, verbs=["get"])))
    args, _, _ = serializer.decode(body)

    @app.task(bind=True, shared=False)
    def look(self):
        with pytest.raises(Reject) as caught:
            list(args)
        return caught.value

    reject = look.apply().get()

    assert (reject.requeue, reject.reason) == (requeue, error)


@pytest.mark.parametrize(
    "garbage",
    [b"\x00", b"garbage" * 100, b"\x93\x01\xc4\x00\xc4\x00", b"\x93\x63\xc4\x00\xc4\x00", b"[[], {}, {}]"],
)
def test_decoding_never_raises(claimcheck, garbage):
    """Any bytes decode to a body of three items that fails, explained, when it is looked at."""
    body = serializer.decode(garbage)
    args, kwargs, embed = body

    assert embed == {}
    for look in (lambda: list(args), lambda: dict(kwargs), lambda: body["status"]):
        with pytest.raises(ClaimError, match="claim rejected"):
            look()


def test_an_unconfigured_process_explains_itself():
    """Without install, encoding raises and decoding yields a body that says what to call."""
    args, _, _ = serializer.decode(b"x")

    with pytest.raises(ClaimError, match=r"call pipeline.install\(app"):
        list(args)
    with pytest.raises(EncodeError, match=r"call pipeline.install\(app"):
        serialization.dumps([], serializer="claimcheck")


def test_kombu_finds_the_serializer(claimcheck):
    """Kombu's registry has it by the entry point alone, with a content type of its own."""
    content_type, encoding, body = serialization.dumps({"a": 1}, serializer="claimcheck")

    assert (content_type, encoding) == ("application/x-claimcheck", "binary")
    assert serialization.loads(body, content_type, encoding, accept={content_type}) == {"a": 1}


@pytest.mark.parametrize("value", [None, 5, "text", [1, 2, 3], {"method": "ping"}, [1, "id", "SUCCESS", {}]])
def test_other_values_travel_too(claimcheck, value):
    """Results, control commands and anything else that Kombu may be given come back equal."""
    assert serializer.decode(serializer.encode(value)) == value


def test_what_monitors_show_of_an_offloaded_task(claimcheck, noise):
    """The headers of an offloaded task have its size and key, and no text of its arguments."""
    headers = {"argsrepr": repr(SECRET), "kwargsrepr": repr(SECRET)}
    with publishing(Publication(envelope=Envelope(headers=headers))):
        body = serializer.encode(task_body(SECRET + noise.hex()))

    assert SECRET not in repr(headers)
    assert headers["claimcheck"]["key"] == payload_of(body).key
    assert headers["claimcheck"]["payload_bytes"] == payload_of(body).expanded_bytes


@pytest.mark.parametrize(
    "value", [[], [1, 2], [1, {}, []], [[], [], []], [[], {}, 7], {"a": 1}, [[], {}, [[1]]]]
)
def test_a_payload_that_is_no_call_is_corrupt(claimcheck, value):
    """A payload that does not hold args, kwargs and signatures is rejected as corrupt."""
    embed = claimcheck.codec.encode_embed(NO_SIGNATURES)
    message = Message(shape="task", payload=claimcheck.seal(value), embed=embed)
    args, _, _ = serializer.decode(wire_form.write(message))

    if value == [[], {}, [[1]]]:
        assert list(args) == []
    else:
        with pytest.raises(PayloadCorruptError, match="does not hold a task's arguments"):
            list(args)


def test_a_message_without_a_task_s_embed_is_rejected(claimcheck):
    """An embed may not smuggle other fields into a task's request."""
    embed = claimcheck.codec.encode_embed({**NO_SIGNATURES, "id": "forged"})
    message = Message(shape="task", payload=claimcheck.seal([[], {}, []]), embed=embed)
    args, _, seen = serializer.decode(wire_form.write(message))

    assert seen == {}
    with pytest.raises(ClaimError, match="embed"):
        list(args)


def test_the_deferred_payload_is_found_behind_a_body(claimcheck, noise):
    """The worker finds the claim behind a decoded body, and none behind a foreign one."""
    body = serializer.decode(serializer.encode(task_body(noise)))

    assert deferred_in(body).claim.expanded_bytes > len(noise)
    assert deferred_in([[], {}, {}]) is None
    assert deferred_in({"args": []}) is None
    assert deferred_in(()) is None

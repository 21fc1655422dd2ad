"""The Kombu end: the serializer ``claimcheck``.

Kombu finds it through ``celery_claimcheck_entry_point.py``; it does nothing until an application
calls :func:`pipeline.install`. Encoding may store a payload and raise; decoding does no I/O and never
raises, whatever it is given.
"""

from typing import Any

from kombu.utils import json

from pipeline import results
from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Claim, Message
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import TypedValues
from pipeline.claimcheck.headers import NAME, SEE_ARGS
from pipeline.claimcheck.installed import found, install, installed, is_installed
from pipeline.deferred import body as deferred
from pipeline.deferred.payload import Deferred
from pipeline.errors import ClaimError, FramesDropped, PipelineError
from pipeline.serializer import encoding
from pipeline.serializer.publication import current

__all__ = [
    "KOMBU_TYPES",
    "NAME",
    "decode",
    "encode",
    "found",
    "install",
    "installed",
    "is_installed",
    "is_task",
]

CONTENT_TYPE = wire_form.CONTENT_TYPE

KOMBU_TYPES = TypedValues(
    default=json.JSONEncoder().default,
    restore=json.object_hook,
)
"""The types that Kombu's ``json`` serializer knows, those of ``register_type`` included."""


def encode(body: Any) -> bytes:
    """Encode a message body, in the publishing process; Kombu wraps what is raised into ``EncodeError``.

    The publication in progress gets the headers that describe the payload, and what was made of the body.

    Raises:
        PipelineError: the body cannot be serialised, is too large, or could not be stored.
    """
    publication = current()
    if encoding.is_task(body):  # Celery's text of the arguments is in its own frames as well
        publication.headers.update(argsrepr=SEE_ARGS, kwargsrepr=SEE_ARGS)
    try:
        with FramesDropped():
            encoded = encoding.Encoding(installed(), publication).of(body)
        publication.note(encoded)
        return encoded.data
    finally:
        del body  # error trackers show what is in a frame


def decode(body: bytes | memoryview | str) -> Any:
    """Decode a message body, in any process: no I/O, and no exception whatever the bytes.

    Returns:
        ``(args, kwargs, embed)`` for a task, deferred, or its map in protocol 1; a stored result, read on
        first use; any other value itself. What cannot be read raises on first use.
    """
    data = _bytes(body)
    rebuild = _payload_of, (data,)
    try:
        with FramesDropped():
            claimcheck = installed()
            message = _message(claimcheck, data)
            if message.shape == "task":
                return deferred.of_task(claimcheck, message, rebuild)
            if message.shape == "value":
                return _value(claimcheck, message)
            return results.read(claimcheck, message)
    except PipelineError as exc:
        return deferred.unreadable(exc, rebuild)


def _payload_of(body: bytes) -> Deferred | None:
    return deferred.deferred_in(decode(body))


def is_task(body: bytes | memoryview | str) -> bool:
    """Say whether a body is of a task, or cannot be read, without decoding what it holds. Never raises."""
    try:
        return _message(installed(), _bytes(body)).shape == "task"
    except PipelineError:
        return True


def _message(claimcheck: ClaimCheck, data: bytes) -> Message:
    chosen = claimcheck.options
    return wire_form.read(data, chosen.signing_key, accept_unsigned=chosen.accept_unsigned)


def _bytes(body: bytes | memoryview | str) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)


def _value(claimcheck: ClaimCheck, message: Message) -> Any:
    if isinstance(message.payload, Claim):
        raise ClaimError("claim rejected: a value that is no result travels in its message")
    return claimcheck.rehydrate(message.payload)

"""The door for plain claim messages: a JSON object that names the key of a file in S3."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from pipeline.doors.foreign_message import ForeignMessage, TaskCall
from pipeline.doors.objects import ObjectDoor, object_handle
from pipeline.errors import MalformedError

LIMIT_BYTES = 65_536
"""Largest message: a claim is small, and decoding a large one would block the event loop."""

_KEYS = ("s3_key", "claim_check")
_SIZE = "payload_size"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def plain_claims(task: str, *, store: str) -> ObjectDoor:
    """Return a door for ``{"s3_key": …}`` and ``{"claim_check": …, "metadata": {…}, "payload_size": …}``.

    Each message becomes a call ``task(handle, message)``: a ``pipeline.Handle`` of the object with that
    key, and a dict of the other fields. A ``payload_size`` is checked when the handle is read.

    Args:
        task: name of the task.
        store: alias of the store that the keys are in, among ``stores`` of ``pipeline.install``.
    """
    return ObjectDoor((store,), partial(_calls, task, store), has_buckets=False)


def _calls(task: str, store: str, message: ForeignMessage) -> Iterable[TaskCall]:
    fields = _read(message.body)
    named = [name for name in _KEYS if name in fields]
    if len(named) != 1:
        raise MalformedError("expected a field 's3_key' or 'claim_check', and one of them alone")
    known = {"key": fields.pop(named[0]), "size_bytes": fields.pop(_SIZE, None)}
    return [TaskCall(task, [object_handle(store, known), fields])]


def _read(body: str) -> dict[str, Any]:
    if len(body) > LIMIT_BYTES:
        raise MalformedError(f"it is larger than {LIMIT_BYTES:,} characters, and a claim is small")
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MalformedError(f"it is no claim in JSON: {exc}") from None

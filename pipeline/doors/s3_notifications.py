"""The door for S3's event notifications: sent to the queue by S3, or through SNS or EventBridge.

Source: Amazon S3 user guide, "Event message structure" and "Using EventBridge"; Amazon SNS developer guide,
"Amazon SNS message and JSON formats".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote, unquote_plus

import msgspec

from pipeline.claimcheck.keys import object_task_id
from pipeline.doors.foreign_message import ForeignMessage, TaskCall
from pipeline.doors.objects import ObjectDoor, object_handle
from pipeline.errors import MalformedError


def _as_it_is(key: str) -> str:
    return key


KEYS: Mapping[str, Callable[[str], str]] = {
    "aws": partial(unquote_plus, errors="strict"),
    "minio": partial(unquote, errors="strict"),
    "ceph": _as_it_is,
}
"""How keys are written in notifications: S3 encodes them as a form does, so ``+`` is a space."""

TASK_IDS: Mapping[str, Callable[[str, str], str | None]] = {
    "message": lambda _store, _key: None,
    "object": object_task_id,
}
"""What the ids of tasks follow from, by a store's alias and a key."""

TEST_EVENT = "s3:TestEvent"
"""What S3 sends once when notifications are configured; it names no object."""

_CREATED = ("ObjectCreated", "s3:ObjectCreated", "Object Created")


class _Bucket(msgspec.Struct, frozen=True):
    name: str


class _Object(msgspec.Struct, frozen=True):
    key: str
    size: int | None = None
    etag: str | None = msgspec.field(name="eTag", default=None)
    version: str | None = msgspec.field(name="versionId", default=None)
    sequencer: str | None = None


class _S3(msgspec.Struct, frozen=True):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct, frozen=True):
    name: str = msgspec.field(name="eventName")
    s3: _S3
    time: str | None = msgspec.field(name="eventTime", default=None)


class _BridgedObject(msgspec.Struct, frozen=True):
    key: str
    size: int | None = None
    etag: str | None = None
    version: str | None = msgspec.field(name="version-id", default=None)
    sequencer: str | None = None


class _Detail(msgspec.Struct, frozen=True):
    bucket: _Bucket
    object: _BridgedObject


class _Message(msgspec.Struct, frozen=True):
    """The forms of a message, each with fields of its own."""

    records: list[_Record] | None = msgspec.field(name="Records", default=None)
    test: str | None = msgspec.field(name="Event", default=None)
    sns_type: str | None = msgspec.field(name="Type", default=None)
    sns_message: str | None = msgspec.field(name="Message", default=None)
    detail_type: str | None = msgspec.field(name="detail-type", default=None)
    detail: _Detail | None = None
    time: str | None = None


_decode = msgspec.json.Decoder(_Message).decode


@dataclass(frozen=True, slots=True)
class _Event:
    """One event, whichever way it came."""

    name: str
    time: str | None
    bucket: str
    key: str
    object: _Object | _BridgedObject


def s3_notifications(task: str, *, store: str, keys: str = "aws", task_ids: str = "message") -> ObjectDoor:
    """Return a door for S3's event notifications, also wrapped by SNS or EventBridge.

    Each record becomes a call ``task(handle, event)``. ``handle`` is a ``pipeline.Handle`` with size,
    ETag and version as far as S3 names them. ``event`` is a dict with ``name``, ``time`` and ``sequencer``.
    ``s3:TestEvent`` is deleted. A record of another bucket or prefix is malformed.

    Args:
        task: name of the task.
        store: alias of the store that the objects are in, among ``stores`` of ``pipeline.install``.
        task_ids: what the ids of tasks follow from: ``message``, or ``object``: then whoever has stored an
            object of a new key knows the id, by ``pipeline.claimcheck.keys.object_task_id``.
        keys: who writes the keys: ``aws``, ``minio`` (a ``+`` is a plus) or ``ceph`` (nothing is encoded).

    Raises:
        ValueError: ``keys`` or ``task_ids`` is none of these.
    """
    _check("keys", keys, KEYS)
    _check("task_ids", task_ids, TASK_IDS)
    return ObjectDoor((store,), partial(_calls, task, store, KEYS[keys], TASK_IDS[task_ids]))


def _check(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}")


def _calls(
    task: str,
    store: str,
    key: Callable[[str], str],
    task_id: Callable[[str, str], str | None],
    message: ForeignMessage,
) -> Iterable[TaskCall]:
    for event in _events(message.body, key):
        found = event.object
        fields = {"size_bytes": found.size, "etag": found.etag, "version": found.version}
        handle = object_handle(store, {"key": event.key, **fields}, event.bucket)
        about = {"name": event.name, "time": event.time, "sequencer": found.sequencer}
        yield TaskCall(task, [handle, about], task_id=task_id(store, event.key))


def _events(body: str, key: Callable[[str], str]) -> Iterable[_Event]:
    message = _read(body)
    if message.sns_type is not None and message.sns_message is not None:
        message = _read(message.sns_message)
    if message.records is not None:
        return (_recorded(each, key) for each in message.records)
    if message.detail is not None:
        return [_bridged(message, message.detail)]
    if message.test == TEST_EVENT:
        return []
    raise MalformedError("it is no notification of S3: it has no field 'Records', and no 'detail'")


def _read(text: str) -> _Message:
    try:
        return _decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MalformedError(f"it is no notification of S3: {exc}") from None


def _recorded(record: _Record, key: Callable[[str], str]) -> _Event:
    found = record.s3.object
    try:
        name = key(found.key)
    except UnicodeDecodeError:
        raise MalformedError("a key in it is not UTF-8") from None
    return _checked(_Event(record.name, record.time, record.s3.bucket.name, name, found))


def _bridged(message: _Message, detail: _Detail) -> _Event:
    """Return the event that EventBridge delivers: it does not encode keys."""
    found = detail.object
    return _checked(_Event(message.detail_type or "", message.time, detail.bucket.name, found.key, found))


def _checked(event: _Event) -> _Event:
    if event.name.startswith(_CREATED) and (event.object.size is None or event.object.etag is None):
        raise MalformedError("an object that was created has no size or no ETag in it")
    return event

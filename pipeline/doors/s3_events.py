"""What is in S3's event notifications: sent to the queue by S3, or through SNS or EventBridge.

Source: Amazon S3 user guide, "Event message structure" and "Using EventBridge"; Amazon SNS developer guide,
"Amazon SNS message and JSON formats".
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from pipeline.errors import MalformedError

TEST_EVENT = "s3:TestEvent"
"""What S3 sends once when notifications are configured; it names no object."""

_CREATED = ("ObjectCreated", "s3:ObjectCreated", "Object Created")


class _Bucket(msgspec.Struct, frozen=True):
    name: str


class _AnyObject(msgspec.Struct, frozen=True):
    key: str
    size: int | None = None
    sequencer: str | None = None


class _Object(_AnyObject, frozen=True):
    etag: str | None = msgspec.field(name="eTag", default=None)
    version: str | None = msgspec.field(name="versionId", default=None)


class _S3(msgspec.Struct, frozen=True):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct, frozen=True):
    name: str = msgspec.field(name="eventName")
    s3: _S3
    time: str | None = msgspec.field(name="eventTime", default=None)


class _BridgedObject(_AnyObject, frozen=True):
    etag: str | None = None
    version: str | None = msgspec.field(name="version-id", default=None)


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
class S3Event:
    """One event, whichever way it came."""

    name: str
    time: str | None
    bucket: str
    key: str
    object: _Object | _BridgedObject


def events_in(body: str, key: Callable[[str], str]) -> Iterable[S3Event]:
    """Yield the events in a message; none in a test event.

    Args:
        body: of the message.
        key: decodes a key that S3 itself has written.

    Raises:
        MalformedError: it is no notification.
    """
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


def _recorded(record: _Record, key: Callable[[str], str]) -> S3Event:
    found = record.s3.object
    try:
        name = key(found.key)
    except UnicodeDecodeError:
        raise MalformedError("a key in it is not UTF-8") from None
    return _checked(S3Event(record.name, record.time, record.s3.bucket.name, name, found))


def _bridged(message: _Message, detail: _Detail) -> S3Event:
    """Return the event that EventBridge delivers: it does not encode keys."""
    found = detail.object
    return _checked(S3Event(message.detail_type or "", message.time, detail.bucket.name, found.key, found))


def _checked(event: S3Event) -> S3Event:
    if event.name.startswith(_CREATED) and (event.object.size is None or event.object.etag is None):
        raise MalformedError("an object that was created has no size or no ETag in it")
    return event

"""The door for AWS's SQS Extended Client Library: large messages are in S3, the message is a pointer.

Source: awslabs/payload-offloading-java-common-lib-for-aws (``PayloadS3Pointer``, ``JsonDataConverter``),
awslabs/amazon-sqs-java-extended-client-lib (``SQSExtendedClientConstants``, ``AmazonSQSExtendedClientUtil``),
amazon-sqs-extended-client 1.0.1 (``client.py``).
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.handles.late_arguments import StoredText
from pipeline.doors.foreign_message import ForeignMessage, TaskCall
from pipeline.doors.objects import ObjectDoor, object_handle
from pipeline.errors import MalformedError

SIZE_ATTRIBUTES = ("ExtendedPayloadSize", "SQSLargePayloadSize")
"""One of them marks a pointer, the second one in messages of old versions; its value is the size in bytes."""

POINTER_CLASSES = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
"""First item of a pointer, by version as above."""

POINTER_LIMIT_CHARACTERS = 8_192
"""A bucket's name, a key of 1,024 bytes, escaped, and what is around them."""

_DIGITS = 15


class _Location(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bucket: str = msgspec.field(name="s3BucketName")
    key: str = msgspec.field(name="s3Key")


_decode_pointer = msgspec.json.Decoder(tuple[str, _Location]).decode
_decode_location = msgspec.json.Decoder(_Location).decode


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes the call of a message."""

    task: str
    stores: tuple[str, ...]
    deletes: bool
    bare: bool

    def __call__(self, message: ForeignMessage) -> Iterable[TaskCall]:
        sizes = [message.attributes[name] for name in SIZE_ATTRIBUTES if name in message.attributes]
        location = _location(message.body, bare=self.bare) if sizes or self.bare else None
        if location is not None:
            handle = self._handle(location, _bytes(sizes[0]) if sizes else None)
            return [TaskCall(self.task, [StoredText(handle)], deletes=handle if self.deletes else None)]
        if sizes:
            raise MalformedError("it has the attribute of a pointer, and its body is none")
        return [TaskCall(self.task, [message.body])]

    def _handle(self, location: _Location, size_bytes: int | None) -> Handle:
        fields = {"key": location.key, "size_bytes": size_bytes}
        for store in self.stores:
            with suppress(MalformedError):
                return object_handle(store, fields, location.bucket)
        raise MalformedError(f"its object is in no listed store: {', '.join(self.stores)}")


def extended_client(
    task: str, *, store: str | tuple[str, ...], deletes: bool = False, bare: bool = False
) -> ObjectDoor:
    """Return a door for messages of the SQS Extended Client, of Java and of Python.

    Each message becomes a call ``task(text)``, whether the text was in the message or in S3. It is read in
    the process that runs the task, and a retry takes it along.

    Args:
        task: name of the task.
        store: alias of the store that the objects are in, or several, among ``stores`` of
            ``pipeline.install``. A pointer to any other bucket or prefix is malformed.
        deletes: whether the object is deleted when the task has ended and its message has settled, as the
            client does with ``delete_payload_from_s3``; otherwise its owner deletes it.
        bare: whether a pointer without its attribute, or without the name of a class, is one, too. Then a
            body that only looks like a pointer is taken for one.
    """
    stores = (store,) if isinstance(store, str) else tuple(store)
    return ObjectDoor(stores, _Reader(task, stores, deletes, bare), deletes=deletes)


def _location(body: str, *, bare: bool) -> _Location | None:
    """Return where a pointer points, or ``None`` if the body is none."""
    if len(body) > POINTER_LIMIT_CHARACTERS:
        return None
    try:
        name, location = _decode_pointer(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _bare_location(body) if bare else None
    return location if name in POINTER_CLASSES else None


def _bare_location(body: str) -> _Location | None:
    try:
        return _decode_location(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _bytes(size: str | bytes) -> int:
    if not (isinstance(size, str) and size.isascii() and size.isdecimal() and len(size) <= _DIGITS):
        raise MalformedError("the attribute of its pointer is not a size in bytes")
    return int(size)

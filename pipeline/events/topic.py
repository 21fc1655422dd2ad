"""Publishes to a topic of SNS: one message for all subscribers, with typed attributes for their filters."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypedDict, Unpack
from uuid import uuid4

from pipeline.aws.limits import SNS_ATTRIBUTES_COUNT, SNS_MESSAGE_LIMIT_BYTES, SQS_FIFO_SUFFIX
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.handles.putting import DEFAULT_TTL_DAYS, put
from pipeline.claimcheck.message_size import attributes_bytes
from pipeline.errors import PayloadTooLargeError
from pipeline.events import content
from pipeline.events.sending import Entry, Outcome, client, discard, send_all
from pipeline.transport.send import failures

Attribute = str | bool | int | float | Decimal | bytes | Sequence[str | bool | int | float | None]
"""A ``String``, ``Number``, ``Binary`` or ``String.Array`` of SNS; a bool is the text ``true``, ``false``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message for a topic."""

    value: Any = field(repr=False)
    """What subscribers get: a value, as a task's argument may be, or a handle."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict, repr=False)
    """What filter policies match on."""
    subject: str | None = None
    group: str | None = None
    """Message group, for a FIFO topic."""
    deduplication_id: str | None = None
    """For a FIFO topic: SNS delivers one message of each id within five minutes. By default a new one."""


class More(TypedDict, total=False):
    """The further fields of a notification, so that type checkers know their names and types."""

    subject: str | None
    group: str | None
    deduplication_id: str | None


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic, and how large its messages may be. Safe to share between threads and after a fork.

    A value above the limit, and one that JSON would change, is stored once, and its claim is published. With
    ``subscribers`` the payload is deleted when so many tasks have ended. What a filter holds back, or SNS
    does not deliver, never ends: then ``ttl_days`` is the end, as it is without ``subscribers``.
    """

    arn: str
    limit_bytes: int = SNS_MESSAGE_LIMIT_BYTES
    """The topic's ``MaximumMessageSize``. Above 256 KiB subscribe with raw delivery: SNS's wrapping makes a
    message larger than SQS takes."""
    subscribers: int | None = None
    """How many queues get each message; None if that is not known, as with filters."""
    ttl_days: int = DEFAULT_TTL_DAYS
    """1, 7, 30 or 90: TTL class of the payloads."""
    client: Any = field(default=None, repr=False, compare=False)
    """boto3's client of SNS; by default one with the environment's credentials."""

    def publish(
        self, value: Any, attributes: Mapping[str, Attribute] | None = None, **more: Unpack[More]
    ) -> str:
        """Publish a message, and return SNS's id of it. ``more`` are further fields of ``Notification``.

        Raises:
            EventSendError: SNS has not confirmed it; and all that ``publish_batch`` raises.
        """
        return self.publish_batch([Notification(value=value, attributes=attributes or {}, **more)])[0]

    def publish_batch(self, notifications: Sequence[Notification]) -> list[str]:
        """Publish messages, ten in a call, and return SNS's ids.

        If one cannot be made, none is published. Runs in any process where ``pipeline.install`` was called.

        Raises:
            EventSendError: SNS has not confirmed some; the payloads of those that were certainly not sent are
                deleted.
            ValueError: an attribute has a type or content that SNS does not take, or a FIFO topic's message
                has no group.
            PayloadEncodeError, PayloadTooLargeError: a value cannot be stored.
            StoreUnavailableError, StoreDeniedError: the store did not answer, or denies access.
        """
        entries = list[Entry]()
        try:
            for each in notifications:
                entries.append(self._entry(each, str(len(entries))))
        except BaseException:
            discard(entries)
            raise
        return send_all(self.arn, entries, self._call, self.limit_bytes)

    def _entry(self, notification: Notification, name: str) -> Entry:
        attributes = {key: typed(key, value) for key, value in notification.attributes.items()}
        if len(attributes) > SNS_ATTRIBUTES_COUNT:
            raise ValueError(
                f"{len(attributes)} attributes: expected {SNS_ATTRIBUTES_COUNT} at most; with more, SNS does "
                "not deliver to queues that take messages raw"
            )
        more = {"MessageAttributes": attributes, "Subject": notification.subject, **self._fifo(notification)}
        fields = {key: value for key, value in more.items() if value}
        beside_bytes = attributes_bytes(attributes) + len((notification.subject or "").encode())
        text, stored = self._text(notification.value, self.limit_bytes - beside_bytes)
        size_bytes = len(text.encode()) + beside_bytes
        if size_bytes > self.limit_bytes:
            discard([Entry({}, 0, stored)])
            raise PayloadTooLargeError(
                f"message too large: {size_bytes} bytes, of which {beside_bytes} are its attributes, and "
                f"limit_bytes is {self.limit_bytes}; publish less in attributes"
            )
        group = notification.group if self._is_fifo else None
        return Entry({"Id": name, "Message": text, **fields}, size_bytes, stored, group)

    def _text(self, value: Any, limit_bytes: int) -> tuple[str, Handle | None]:
        if isinstance(value, Handle):
            return content.claim_of(value, is_value=False), None
        text = content.json_of(value, limit_bytes)
        if text is not None:
            return text, None
        stored = put(value, ttl_days=self.ttl_days, uses=self.subscribers)
        return content.claim_of(stored, is_value=True), stored

    @property
    def _is_fifo(self) -> bool:
        return self.arn.endswith(SQS_FIFO_SUFFIX)

    def _fifo(self, notification: Notification) -> dict[str, str]:
        if not self._is_fifo:
            return {"MessageGroupId": notification.group} if notification.group else {}
        if not notification.group:
            raise ValueError(
                f"group={notification.group!r}: a message of a FIFO topic needs one [{self.arn}]"
            )
        return {
            "MessageGroupId": notification.group,
            "MessageDeduplicationId": notification.deduplication_id or uuid4().hex,
        }

    def _call(self, entries: Sequence[dict[str, Any]]) -> list[Outcome]:
        sns = self.client or client("sns", self.arn.split(":")[3])
        answer = sns.publish_batch(TopicArn=self.arn, PublishBatchRequestEntries=list(entries))
        confirmed = {each["Id"]: each["MessageId"] for each in answer.get("Successful", ())}
        failed = {each["Id"]: each for each in answer.get("Failed", ())}
        names = [each["Id"] for each in entries]
        return [confirmed.get(name) or failures.of_entry(answer, failed.get(name)) for name in names]


def typed(name: str, value: Any) -> dict[str, Any]:
    """Return an attribute as SNS has it.

    Raises:
        ValueError: SNS has no attribute like it.
    """
    if isinstance(value, bytes) and value:
        return {"DataType": "Binary", "BinaryValue": value}
    if isinstance(value, str) and value:
        return {"DataType": "String", "StringValue": value}
    if isinstance(value, bool):
        return {"DataType": "String", "StringValue": str(value).lower()}
    if isinstance(value, int | float | Decimal) and math.isfinite(value):
        return {"DataType": "Number", "StringValue": str(value)}
    if isinstance(value, list | tuple) and all(map(_is_plain, value)):
        return {"DataType": "String.Array", "StringValue": json.dumps(value)}
    raise ValueError(
        f"attribute {name!r} of type {type(value).__name__}: expected a text or bytes that are not empty, a "
        "finite number, a bool, or a list of texts, numbers, bools and None"
    )


def _is_plain(value: Any) -> bool:
    return (
        value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    )

"""Sends calls of tasks as messages of AWS's SQS Extended Client, to consumers that know no Celery."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.keys import below
from pipeline.doors.extended_client import POINTER_CLASSES, SIZE_ATTRIBUTES
from pipeline.errors import PayloadEncodeError, StoreError
from pipeline.publisher.task_sender import task_fields
from pipeline.transport.errors import certainly_not_sent

THRESHOLD_BYTES = 262_144
"""The client's own. Source: awslabs/amazon-sqs-java-extended-client-lib, ``SQSExtendedClientConstants``."""

_NEEDS_CELERY = ("eta", "expires", "group", "callbacks", "errbacks", "chain", "chord")


@dataclass(frozen=True, slots=True)
class ExtendedSender:
    """What sends to one queue. Safe in any process that publishes."""

    store: str
    threshold_bytes: int
    legacy: bool

    @property
    def stores(self) -> tuple[str, ...]:
        """The alias of its store."""
        return (self.store,)

    def send(self, claimcheck: ClaimCheck, channel: Any, queue: str, name: str, message: Any) -> None:
        """Send a task's message, as Celery has made it, as a plain one.

        Raises:
            ValueError: it says more than a plain message can.
            PayloadEncodeError: its argument is nothing that JSON has.
            StoreError: it is large, and was not stored.
            Exception: whatever SQS says. It may have arrived all the same.
        """
        text = _text(name, queue, message)
        data = text.encode()
        if len(data) <= self.threshold_bytes:
            channel.send_plain(queue, text, {})
            return
        store = claimcheck.stores[self.store]
        key = below(store.prefix, str(uuid4()))
        claimcheck.with_retries(lambda: store.put(key, data, {}))
        attribute = {"DataType": "Number", "StringValue": str(len(data))}
        try:
            pointer = self._pointer(store, key)
            channel.send_plain(queue, pointer, {SIZE_ATTRIBUTES[self.legacy]: attribute})
        except Exception as exc:
            if certainly_not_sent(exc):
                with suppress(StoreError):
                    store.delete([key])
            raise

    def _pointer(self, store: Any, key: str) -> str:
        where = {"s3BucketName": store.bucket, "s3Key": key}
        return json.dumps([POINTER_CLASSES[self.legacy], where], separators=(",", ":"))


def extended_client_sender(
    *, store: str, threshold_bytes: int = THRESHOLD_BYTES, legacy: bool = False
) -> ExtendedSender:
    """Return what sends to a queue whose consumers use AWS's SQS Extended Client.

    A task that is called for that queue becomes a plain message: the text that is its only argument, or else
    JSON of its only argument or of its keyword arguments. A text above the threshold goes to S3 under a new
    key. Its consumer deletes the object, or a lifecycle rule does.

    Args:
        store: alias of the store that large texts go to, among ``stores`` of ``pipeline.install``.
        threshold_bytes: a larger text goes to S3; 0 for each one.
        legacy: write pointers for clients of version 1 of Java.
    """
    return ExtendedSender(store, threshold_bytes, legacy)


def _text(name: str, queue: str, message: Any) -> str:
    args, kwargs, more = _parts(message)
    if more:
        raise ValueError(
            f"task {name} not sent [queue={queue}]: its consumers know no Celery, and a plain message has no "
            f"{more[0]}; leave it out"
        )
    if len(args) + bool(kwargs) != 1:
        raise ValueError(
            f"task {name} not sent [queue={queue}]: a plain message is one value; call it with one argument, "
            "or with keyword arguments alone"
        )
    return _json(name, args[0] if args else dict(kwargs))


def _parts(message: Any) -> tuple[Any, Mapping[str, Any], list[str]]:
    """Return a task's arguments, and the names of what a plain message cannot carry."""
    fields, body = task_fields(message), message.body
    args, kwargs, embed = (body["args"], body["kwargs"], {}) if isinstance(body, dict) else body
    return args, kwargs, [each for each in _NEEDS_CELERY if fields.get(each) or embed.get(each)]


def _json(name: str, value: Any) -> str:
    """Return a text as it is, and JSON of any other value, if it arrives equal.

    Raises:
        PayloadEncodeError: it does not.
    """
    if isinstance(value, str) and value:
        return value
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        is_equal = value and json.loads(text) == value
    except (TypeError, ValueError, RecursionError):
        is_equal = False
    if not is_equal:
        kind = type(value).__name__
        raise PayloadEncodeError(
            f"argument of task {name} not encoded [type={kind}]: it is empty, or JSON would change it; pass "
            "a text, or dicts with texts as keys, lists, numbers and booleans"
        ) from None
    return text

"""One message of a dead-letter queue: its task, its claim, and why a worker could not run it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kombu.serialization import prepare_accept_content

from pipeline.admin.received_messages import Received
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim, Share
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.headers import SHARED
from pipeline.claimcheck.keys import check_stored_key
from pipeline.claimcheck.packs import ranges
from pipeline.deferred.body import deferred_in
from pipeline.deferred.payload import Deferred
from pipeline.errors import ClaimError, PipelineError
from pipeline.serializer import serializer
from pipeline.stores.protocol import Store, StoredObject
from pipeline.worker.lost_children import recorded_loss
from pipeline.worker.validation import examine

MISSING = "payload missing: released, expired, or never written"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message of a dead-letter queue, read without its payload."""

    received: Received
    headers: Mapping[str, Any]
    routing_key: str
    claim: Claim | None
    error: str
    """Why a worker would reject the message; empty if it would not."""
    value: Any = field(repr=False)
    """The decoded body, deferred if it was offloaded."""
    content_type: str = ""
    removes: Handle | None = None
    """The object of others that the door of its queue deletes with the message; ``None`` if there is none."""

    @property
    def task(self) -> str:
        """Name of the task; empty if the message names none."""
        return str(self.headers.get("task") or "")

    @property
    def task_id(self) -> str:
        """Id of the task; empty if the message has none."""
        return str(self.headers.get("id") or "")

    @property
    def is_shared(self) -> bool:
        """Whether the message went to several queues, whose copies name the same payload."""
        return self.headers.get(SHARED) is not None

    def members(self) -> list[tuple[Share, bytes]]:
        """Return the payloads that have a ledger, and which member of each the message is."""
        queue = self._source_queue if self.is_shared else ""
        found = [(share, ledger.member(self.task_id, queue)) for share in self.shares]
        if self.claim is not None and self._has_ledger(self.claim, queue):
            share = Share(store=self.claim.store, key=self.claim.key)
            found.append((share, ranges.member(self.claim, self.task_id, queue)))
        return found

    def _has_ledger(self, claim: Claim, queue: str) -> bool:
        if self.is_shared:
            return bool(self.headers.get(SHARED) and queue)
        return claim.offset is not None

    @property
    def shares(self) -> tuple[Share, ...]:
        """The shared payloads that the task's arguments name."""
        deferred = deferred_in(self.value)
        return () if deferred is None else deferred.shares

    @property
    def _source_queue(self) -> str:
        """SQS's name of the queue that the message failed in; empty if SQS does not report it."""
        arn = self.received.attributes.get("DeadLetterQueueSourceArn")
        return str(arn or "").rpartition(":")[2]

    @property
    def key(self) -> str | None:
        """Key of the payload: from the claim, or from the header if this process cannot read the claim."""
        if self.claim is not None:
            return self.claim.key
        key = self._described.get("key") if self.is_ours else None
        return key if isinstance(key, str) else None

    @property
    def is_ours(self) -> bool:
        """Whether the claimcheck serializer wrote the message, for this app or another."""
        return self.content_type == serializer.CONTENT_TYPE

    @property
    def may_name_any(self) -> bool:
        """Whether the message may name a payload whose key this process cannot read."""
        has_key = isinstance(self._described.get("key", ...), str | None)
        return self.is_ours and bool(self.error) and self.claim is None and not has_key

    @property
    def _described(self) -> Mapping[str, Any]:
        """The header that the producer writes for monitors; see ``serializer``. It is untrusted."""
        described = self.headers.get(serializer.NAME)
        return described if isinstance(described, dict) else {}

    @property
    def sent(self) -> datetime | None:
        """When the message was sent."""
        return self._time("SentTimestamp")

    @property
    def first_received(self) -> datetime | None:
        """When the message was first received."""
        return self._time("ApproximateFirstReceiveTimestamp")

    def _time(self, attribute: str) -> datetime | None:
        milliseconds = self.received.attributes.get(attribute)
        return datetime.fromtimestamp(int(milliseconds) / 1_000, UTC) if milliseconds else None

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Read the payload, and return args and kwargs.

        Raises:
            PipelineError: the payload cannot be read; the message says why.
        """
        args, kwargs, _ = self.value
        return list(args), dict(kwargs)


def read_message(
    channel: Any, accept: Any, queue: str, received: Received, claimcheck: ClaimCheck
) -> DeadLetter:
    """Read a message as a worker's channel does. Does no I/O, and raises nothing, whatever the bytes."""
    try:
        message = _message(channel, queue, received)
    except Exception as exc:  # noqa: BLE001 - a queue may contain any bytes
        return DeadLetter(received, {}, "", None, f"not read: {type(exc).__name__}", None)
    headers = message.headers if isinstance(message.headers, dict) else {}
    routing_key = str((message.delivery_info or {}).get("routing_key") or "")
    claim, error, value = _body(message, accept, claimcheck)
    kind = str(message.content_type)
    return DeadLetter(received, headers, routing_key, claim, error, value, kind, message.removes)


def _body(message: Any, accept: Any, claimcheck: ClaimCheck) -> tuple[Claim | None, str, Any]:
    """Return a message's claim, why a worker would reject it, and its body."""
    message.accept = prepare_accept_content(accept)  # type: ignore[no-untyped-call]
    fault, call = examine(message)
    deferred = deferred_in(call)
    if deferred is None:
        return None, fault, call
    return deferred.claim, fault or _read_error(deferred, claimcheck), call


def _message(channel: Any, queue: str, received: Received) -> Any:
    raw = {
        "Body": received.body,
        "MessageId": received.message_id,
        "ReceiptHandle": received.receipt_handle,
        "Attributes": dict(received.attributes),
        "MessageAttributes": dict(received.message_attributes),
    }
    return channel.message_to_python(channel._message_to_python(raw, queue, ""))  # noqa: SLF001 - Kombu's


def _read_error(deferred: Deferred, claimcheck: ClaimCheck) -> str:
    try:
        if deferred.payload is None:
            deferred.load()  # raises the error of decoding; reads no store
        elif deferred.claim is not None:
            claimcheck.check(deferred.claim)
    except PipelineError as exc:
        return str(exc)
    return ""


def stored_object(store: Store, key: str) -> StoredObject | None:
    """Return the object under a key, or ``None``. Lists the key; does not read the payload.

    Raises:
        ClaimError: the key does not match the key grammar, or has another prefix.
        StoreError: the store denied the request or did not answer.
    """
    check_stored_key(key, store.prefix)
    rest = key[len(store.prefix) + 1 :] if store.prefix else key
    return next((found for found in store.list(rest) if found.key == key), None)


def payload_and_error(
    message: DeadLetter, app: Any, claimcheck: ClaimCheck
) -> tuple[StoredObject | None, str]:
    """Return the payload that a message's claim names, and why its task could not run now; empty if it could.

    The error is the one that a worker would raise, or what a worker recorded about a task that kills its
    process.

    Raises:
        StoreError: the store denied the request or did not answer.
    """
    payload = _payload(message, claimcheck.store)
    if message.error:
        return payload, message.error
    if message.task not in app.tasks:
        return payload, f"task unknown to this app: {message.task}"
    error = _claimed_error(message.claim, payload) or _shared_error(message, claimcheck)
    return payload, error or recorded_loss(app, message.task_id)


def _claimed_error(claim: Claim | None, payload: StoredObject | None) -> str:
    if claim is None:
        return ""
    if payload is None:
        return MISSING
    return _size_fault(payload.size_bytes, claim)


def _shared_error(message: DeadLetter, claimcheck: ClaimCheck) -> str:
    for share in message.shares:
        if ledger.is_ours(claimcheck, share) and stored_object(claimcheck.store, share.key) is None:
            return f"shared payload missing [key={share.key}]: its uses have ended, or its ttl_days are over"
    return ""


def _size_fault(size_bytes: int, claim: Claim) -> str:
    """Return what is wrong with the size of an object, if its claim needs another; empty if nothing is."""
    if claim.offset is None:
        is_right, needed = size_bytes == claim.size_bytes, str(claim.size_bytes)
    else:
        stop = claim.offset + claim.size_bytes
        is_right, needed = size_bytes >= stop, f"bytes {claim.offset} to {stop} of it"
    return "" if is_right else f"payload corrupt: size {size_bytes} bytes, claimed {needed}"


def _payload(message: DeadLetter, store: Store) -> StoredObject | None:
    if message.claim is None:
        return None
    try:
        return stored_object(store, message.claim.key)
    except ClaimError:
        return None

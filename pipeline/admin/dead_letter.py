"""What a message of a dead-letter queue says: its task, its claim, and why no worker could run it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kombu.serialization import prepare_accept_content

from pipeline.admin.messages import Received
from pipeline.claimcheck.claim import Claim, check_key
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.headers import SHARED
from pipeline.deferred.body import deferred_in
from pipeline.deferred.payload import Deferred
from pipeline.errors import ClaimError, PipelineError
from pipeline.serializer import serializer
from pipeline.stores.protocol import Store, StoredObject
from pipeline.worker.lost_children import recorded_loss
from pipeline.worker.validation import examine

MISSING = "payload missing: released, expired, or never written"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as far as it can be read without its payload."""

    received: Received
    headers: Mapping[str, Any]
    routing_key: str
    claim: Claim | None
    error: str
    """Why it cannot be read; empty if it can."""
    value: Any = field(repr=False)
    """The decoded body, deferred if it was offloaded."""
    content_type: str = ""

    @property
    def task(self) -> str:
        """Name of the task, empty if it is none."""
        return str(self.headers.get("task") or "")

    @property
    def task_id(self) -> str:
        """Id of the task, empty if it is none."""
        return str(self.headers.get("id") or "")

    @property
    def is_shared(self) -> bool:
        """Whether other queues got the same message, and name the same payload."""
        return bool(self.headers.get(SHARED))

    @property
    def key(self) -> str | None:
        """The key that it names: in its claim, or where that cannot be read here, in its header."""
        if self.claim is not None:
            return self.claim.key
        key = self._described.get("key") if self.is_ours else None
        return key if isinstance(key, str) else None

    @property
    def is_ours(self) -> bool:
        """Whether our serializer has written it, for this app or another."""
        return self.content_type == serializer.CONTENT_TYPE

    @property
    def may_name_any(self) -> bool:
        """Whether it may name a payload, and nobody here can know which."""
        is_said = isinstance(self._described.get("key", ...), str | None)
        return self.is_ours and bool(self.error) and self.claim is None and not is_said

    @property
    def _described(self) -> Mapping[str, Any]:
        """The producer's description for monitors; see ``serializer``. It is untrusted."""
        described = self.headers.get(serializer.NAME)
        return described if isinstance(described, dict) else {}

    @property
    def sent(self) -> datetime | None:
        """When it was sent."""
        return self._moment("SentTimestamp")

    @property
    def first_received(self) -> datetime | None:
        """When it was received for the first time."""
        return self._moment("ApproximateFirstReceiveTimestamp")

    def _moment(self, attribute: str) -> datetime | None:
        milliseconds = self.received.attributes.get(attribute)
        return datetime.fromtimestamp(int(milliseconds) / 1_000, UTC) if milliseconds else None

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return args and kwargs, reading the payload.

        Raises:
            PipelineError: they cannot be had; says why.
        """
        args, kwargs, _ = self.value
        return list(args), dict(kwargs)


def read(channel: Any, accept: Any, queue: str, received: Received, claimcheck: ClaimCheck) -> Letter:
    """Read a message as a worker's channel would. No I/O, and no exception whatever the bytes."""
    try:
        message = _message(channel, queue, received)
    except Exception as exc:  # noqa: BLE001 - anybody can write anything into a queue
        return Letter(received, {}, "", None, f"not read: {type(exc).__name__}", None)
    headers = message.headers if isinstance(message.headers, dict) else {}
    routing_key = str((message.delivery_info or {}).get("routing_key") or "")
    claim, error, value = _body(message, accept, claimcheck)
    return Letter(received, headers, routing_key, claim, error, value, str(message.content_type))


def _body(message: Any, accept: Any, claimcheck: ClaimCheck) -> tuple[Claim | None, str, Any]:
    """Return a message's claim, why it cannot be run, and its body."""
    message.accept = prepare_accept_content(accept)  # type: ignore[no-untyped-call]
    fault, call = examine(message)
    deferred = deferred_in(call)
    if deferred is None:
        return None, fault, call
    return deferred.claim, fault or _refusal(deferred, claimcheck), call


def _message(channel: Any, queue: str, received: Received) -> Any:
    raw = {
        "Body": received.body,
        "MessageId": received.message_id,
        "ReceiptHandle": received.receipt_handle,
        "Attributes": dict(received.attributes),
    }
    return channel.message_to_python(channel._message_to_python(raw, queue, ""))  # noqa: SLF001 - Kombu's


def _refusal(deferred: Deferred, claimcheck: ClaimCheck) -> str:
    try:
        if deferred.payload is None:
            deferred.load()  # what could not be read says why, and asks no store
        elif deferred.claim is not None:
            claimcheck.check(deferred.claim)
    except PipelineError as exc:
        return str(exc)
    return ""


def stored(store: Store, key: str) -> StoredObject | None:
    """Return the object that is stored under a key of ours, or ``None``: one listing, no read of the payload.

    Raises:
        ClaimError: the key does not follow our grammar, or has another prefix.
        StoreError: the store denies access or does not answer.
    """
    check_key(key, store.prefix)
    rest = key[len(store.prefix) + 1 :] if store.prefix else key
    return next((found for found in store.list(rest) if found.key == key), None)


def verdict(letter: Letter, app: Any, claimcheck: ClaimCheck) -> tuple[StoredObject | None, str]:
    """Return the payload that a letter's claim names, and why the letter's task would not end if it ran now.

    That is the error that a worker would raise, or what a worker has recorded if the task kills its process.

    Raises:
        StoreError: the store denies access or does not answer.
    """
    payload = _payload(letter, claimcheck.store)
    if letter.error:
        return payload, letter.error
    if letter.task not in app.tasks:
        return payload, f"task unknown to this app: {letter.task}"
    if letter.claim is None:
        return None, recorded_loss(app, letter.task_id)
    if payload is None:
        return None, MISSING
    if payload.size_bytes != letter.claim.size_bytes:
        return (
            payload,
            f"payload corrupt: it has {payload.size_bytes} bytes, the claim says {letter.claim.size_bytes}",
        )
    return payload, recorded_loss(app, letter.task_id)


def _payload(letter: Letter, store: Store) -> StoredObject | None:
    if letter.claim is None:
        return None
    try:
        return stored(store, letter.claim.key)
    except ClaimError:
        return None

"""Puts events on a bus of EventBridge: of large ones, a claim travels and the fields that rules match on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.aws.limits import EVENTBRIDGE_LIMIT_BYTES
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.handles.putting import put
from pipeline.errors import PayloadEncodeError, PayloadTooLargeError
from pipeline.events import content
from pipeline.events.sending import Entry, Outcome, client, discard, send_all
from pipeline.transport.send import failures

TARGET_BYTES = 2_048
"""What EventBridge adds to an event for a target: a queue takes 1 MiB, like the bus. Names have 256 at most.
Source: EventBridge User Guide, "Events reference"."""

TIME_BYTES = 14
"""What the time of an entry counts. Source: EventBridge User Guide, "Calculating PutEvents event entry
size"."""

DEFAULT_TTL_DAYS = 30
"""A replay of an archive needs the payload as well, so it lives longer than that of a task."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event for a bus."""

    detail_type: str
    detail: Mapping[str, Any] | Handle = field(repr=False)
    """What rules match on and targets get: a dict, or a handle."""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What rules match on beside a handle."""
    source: str | None = None
    """By default the bus's."""
    resources: Sequence[str] = ()
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventBus:
    """A bus, and how large its events may be. Safe to share between threads and after a fork.

    A detail that makes an event too large, and one that JSON would change, is stored, and the event has its
    claim and the fields named in ``keep``. A replay of an archive needs the payload, too: archive no longer
    than ``ttl_days``, or the task of a replayed event fails with ``PayloadMissingError``.
    """

    name: str = "default"
    """Name or ARN."""
    source: str = "celery"
    """Source of events that name no other."""
    keep: Sequence[str] = ()
    """Fields of a detail that travel beside its claim, for rules to match on."""
    limit_bytes: int = EVENTBRIDGE_LIMIT_BYTES - TARGET_BYTES
    """Largest event, as EventBridge counts it. Lower it to 256 KiB for targets that take no more, such as
    Step Functions."""
    ttl_days: int = DEFAULT_TTL_DAYS
    """1, 7, 30 or 90: TTL class of the payloads."""
    client: Any = field(default=None, repr=False, compare=False)
    """boto3's client of EventBridge; by default one with the environment's credentials."""

    def put_events(self, events: Sequence[Event]) -> list[str]:
        """Put events on the bus, ten in a call, and return EventBridge's ids.

        If one cannot be made, none is put. Runs in any process where ``pipeline.install`` was called.

        Raises:
            EventSendError: EventBridge has not confirmed some; the payloads of those that were certainly not
                put are deleted.
            PayloadEncodeError, PayloadTooLargeError: a detail cannot be stored, or ``keep`` is too much.
            StoreUnavailableError, StoreDeniedError: the store did not answer, or denies access.
        """
        entries = list[Entry]()
        try:
            for each in events:
                entries.append(self._entry(each))
        except BaseException:
            discard(entries)
            raise
        return send_all(self.name, entries, self._call, EVENTBRIDGE_LIMIT_BYTES)

    def _entry(self, event: Event) -> Entry:
        fields: dict[str, Any] = {
            "EventBusName": self.name,
            "Source": event.source or self.source,
            "DetailType": event.detail_type,
        }
        if event.resources:
            fields["Resources"] = list(event.resources)
        texts = [fields["Source"], event.detail_type, *event.resources]
        beside_bytes = sum(len(each.encode()) for each in texts)
        if event.time is not None:
            fields["Time"], beside_bytes = event.time, beside_bytes + TIME_BYTES
        text, stored = self._text(event, self.limit_bytes - beside_bytes)
        size_bytes = len(text.encode()) + beside_bytes
        if size_bytes > self.limit_bytes:
            discard([Entry({}, 0, stored)])
            raise PayloadTooLargeError(
                f"event too large [detail_type={event.detail_type}]: {size_bytes} bytes with its claim, and "
                f"limit_bytes is {self.limit_bytes}; keep fewer fields"
            )
        return Entry({**fields, "Detail": text}, size_bytes, stored)

    def _text(self, event: Event, limit_bytes: int) -> tuple[str, Handle | None]:
        detail = event.detail
        if isinstance(detail, Handle):
            return content.claim_of(detail, is_value=False, fields=event.fields), None
        if not isinstance(detail, dict):
            raise PayloadEncodeError(
                f"event not sent [detail_type={event.detail_type}, type={type(detail).__name__}]: the detail "
                "of an event is a dict or a handle"
            )
        text = content.json_of(detail, limit_bytes)
        if text is not None:
            return text, None
        stored = put(detail, ttl_days=self.ttl_days)
        kept = {name: detail[name] for name in self.keep if name in detail}
        try:
            return content.claim_of(stored, is_value=True, fields=kept), stored
        except PayloadEncodeError:
            discard([Entry({}, 0, stored)])
            raise

    def _call(self, entries: Sequence[dict[str, Any]]) -> list[Outcome]:
        region = self.name.split(":")[3] if self.name.startswith("arn:") else None
        events = self.client or client("events", region)
        answer = events.put_events(Entries=list(entries))
        return [
            each.get("EventId") or failures.of_code(answer, str(each.get("ErrorCode", "an error")))
            for each in answer["Entries"]
        ]

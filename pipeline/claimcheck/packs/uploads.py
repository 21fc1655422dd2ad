"""The payloads of one batch of messages, which threads store while further messages are made."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim, Inline, claim_of
from pipeline.claimcheck.keys import ledger_key, new_key
from pipeline.claimcheck.object_metadata import TaskLabels, span_attributes
from pipeline.claimcheck.packs.pack import Pack
from pipeline.claimcheck.packs.ranges import can_pack
from pipeline.claimcheck.packs.threads import Threads
from pipeline.claimcheck.packs.upload import Part, Upload
from pipeline.errors import StoreError, StoreUnavailableError
from pipeline.telemetry import tracing

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

IN_FLIGHT_BYTES = 64 * 1024**2
"""So much of a batch waits in memory for the store at the same time; a larger payload waits alone."""

SHARE_OF_PACK = 16
"""A payload larger than this part of a pack is an object of its own: packs would hold too few of them."""

Noted = Callable[[Claim, Mapping[str, str]], None]
"""Called with the claim of a payload that is stored, and the trace context of the claim."""


class Collected(NamedTuple):
    """A payload whose message may be made already, and must not be sent before its upload is over."""

    claim: Claim
    upload: Upload
    trace: Mapping[str, str]
    """Trace context of the claim, as headers: for a message that belongs to no other trace."""


class Uploads:
    """Stores payloads in threads, small ones in packs. For one thread, which publishes.

    Args:
        claimcheck: stores them.
    """

    def __init__(self, claimcheck: "ClaimCheck") -> None:
        self._claimcheck = claimcheck
        self.threads = Threads(claimcheck.options.upload_threads_count)
        self._in_flight = deque[Upload]()
        self._packs: dict[date, Pack] = {}
        """The pack that payloads may join, by the day on which their tasks may run."""
        self._pack_bytes = claimcheck.options.pack_bytes if can_pack(claimcheck.store) else 0
        self._unavailable: StoreUnavailableError | None = None
        """Once an upload has waited in vain for the store, those that have not begun do not wait as well."""

    def add(self, sealed: Inline, labels: TaskLabels, wait_seconds: float, noted: Noted) -> Collected:
        """Return the claim of a payload that will be stored. Waits while too many are on their way.

        Args:
            sealed: the payload.
            labels: the task that it is for.
            wait_seconds: how long it is until the task may run.
            noted: called when it is stored, in a thread.

        Raises:
            PayloadExpiresError: the task's ETA is so far ahead that its payload would have expired.
        """
        self._claimcheck.check_wait(wait_seconds)
        self._make_room(len(sealed.data))
        upload, offset = self._place(len(sealed.data), datetime.now(UTC) + timedelta(seconds=wait_seconds))
        claim = claim_of(sealed, self._claimcheck.options.alias, upload.key, offset)
        with self._span("claimcheck offload", claim, labels):
            trace = tracing.active() or {}
            upload.add(Part(claim, sealed.data, labels, partial(noted, claim, trace)))
            if offset is None:
                upload.begin()
        return Collected(claim, upload, trace)

    def _place(self, size_bytes: int, due: datetime) -> tuple[Upload, int | None]:
        """Return the object that a payload will be in, and its offset there if that is a pack."""
        if 0 < size_bytes <= self._pack_bytes // SHARE_OF_PACK:
            pack = self._pack(size_bytes, due)
            return pack, pack.size_bytes
        upload = Upload(self.threads, self._store, self._new_key(due))
        self._in_flight.append(upload)
        return upload, None

    def _pack(self, size_bytes: int, due: datetime) -> Pack:
        """Return the pack that a payload joins: a new one, if the last one is full or on its way."""
        pack = self._packs.get(due.date())
        if pack is not None and pack.takes(size_bytes):
            return pack
        if pack is not None:
            pack.begin()
        made = Pack(self.threads, self._store, self._new_key(due), limit_bytes=self._pack_bytes)
        self._packs[due.date()] = made
        self._in_flight.append(made)
        return made

    def _new_key(self, due: datetime) -> str:
        return new_key(self._claimcheck.store.prefix, due)

    def _make_room(self, size_bytes: int) -> None:
        while self._in_flight and self._bytes() + size_bytes > IN_FLIGHT_BYTES:
            self._in_flight.popleft().error()

    def _bytes(self) -> int:
        while self._in_flight and self._in_flight[0].is_over:
            self._in_flight.popleft()
        return sum(upload.size_bytes for upload in self._in_flight)

    def _store(self, upload: Upload) -> None:
        """Store an object, in a thread: with its ledger, if it has one."""
        if upload.members_count == 0:  # no message will name it
            return
        if self._unavailable is not None:
            raise StoreUnavailableError(*self._unavailable.args)
        try:
            self._put(upload)
        except BaseException as exc:
            if isinstance(exc, StoreUnavailableError):
                self._unavailable = exc
            with suppress(StoreError):  # an unanswered PUT may have arrived
                self._claimcheck.store.delete([upload.key, ledger_key(upload.key)])
            raise
        for part in upload.parts:
            part.noted()
        upload.parts.clear()

    def _put(self, upload: Upload) -> None:
        whole = upload.whole()
        with self._span("claimcheck upload", whole.claim, whole.labels):
            self._claimcheck.store_payload(whole.claim, whole.data, whole.labels)
            if upload.members_count is not None:
                ledger.make(self._claimcheck, upload.key, upload.members_count)

    def _span(self, name: str, claim: Claim, labels: TaskLabels) -> AbstractContextManager[None]:
        task, task_id, queue = labels
        return tracing.span(name, span_attributes(self._claimcheck.store, claim, task_id, task, queue))

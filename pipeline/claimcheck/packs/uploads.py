"""The payloads of one batch of messages, which threads store while further messages are made."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from pipeline.claimcheck.claim import Claim, Inline
from pipeline.claimcheck.object_metadata import TaskLabels, span_attributes
from pipeline.claimcheck.packs.threads import Threads
from pipeline.claimcheck.packs.upload import Upload
from pipeline.errors import StoreUnavailableError
from pipeline.telemetry import tracing

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

IN_FLIGHT_BYTES = 64 * 1024**2
"""So much of a batch waits in memory for the store at the same time; a larger payload waits alone."""

Noted = Callable[[Claim, Mapping[str, str]], None]
"""Called with the claim of a payload that is stored, and the trace context of the claim."""


class Collected(NamedTuple):
    """A payload whose message may be made already, and must not be sent before its upload is over."""

    claim: Claim
    upload: Upload
    trace: Mapping[str, str]
    """Trace context of the claim, as headers: for a message that belongs to no other trace."""


class Uploads:
    """Stores payloads in threads. For one thread, which publishes.

    Args:
        claimcheck: stores them.
    """

    def __init__(self, claimcheck: "ClaimCheck") -> None:
        self._claimcheck = claimcheck
        self.threads = Threads(claimcheck.options.upload_threads_count)
        self._in_flight = deque[Upload]()
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
        claim = self._claimcheck.claim(sealed, wait_seconds)
        self._make_room(len(sealed.data))
        with self._span("claimcheck offload", claim, labels):
            trace = tracing.active() or {}
            store = partial(self._store, claim, sealed.data, labels, partial(noted, claim, trace))
            upload = Upload(self.threads, store, len(sealed.data))
            upload.begin()
            self._in_flight.append(upload)
            return Collected(claim, upload, trace)

    def _make_room(self, size_bytes: int) -> None:
        while self._in_flight and self._bytes() + size_bytes > IN_FLIGHT_BYTES:
            self._in_flight.popleft().settle()

    def _bytes(self) -> int:
        while self._in_flight and self._in_flight[0].is_over:
            self._in_flight.popleft()
        return sum(upload.size_bytes for upload in self._in_flight)

    def _store(self, claim: Claim, data: bytes, labels: TaskLabels, noted: Callable[[], None]) -> None:
        if self._unavailable is not None:
            raise StoreUnavailableError(*self._unavailable.args)
        try:
            with self._span("claimcheck upload", claim, labels):
                self._claimcheck.store_payload(claim, data, labels)
        except StoreUnavailableError as exc:
            self._unavailable = exc
            raise
        noted()

    def _span(self, name: str, claim: Claim, labels: TaskLabels) -> AbstractContextManager[None]:
        task, task_id, queue = labels
        return tracing.span(name, span_attributes(self._claimcheck.store, claim, task_id, task, queue))

"""The claim check itself: offload, rehydrate, release.

The pattern is "Store in Library" of Enterprise Integration Patterns. Nothing here knows Celery or Kombu,
and nothing here decides *when*: the serializer offloads, the executing process rehydrates, and the
worker's main process releases.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from time import perf_counter
from typing import Any, NamedTuple, TypeVar, Unpack

from pipeline.claimcheck import compression
from pipeline.claimcheck.claim import Claim, Inline, check_sizes, claim_of, digest_of, is_young
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.handles.putting import About, put_into
from pipeline.claimcheck.handles.stores import owned_store
from pipeline.claimcheck.keys import check_key, new_key
from pipeline.claimcheck.memory import Bytes
from pipeline.claimcheck.message_size import Wire
from pipeline.claimcheck.object_metadata import TaskLabels, metadata, span_attributes
from pipeline.claimcheck.packs import ranges
from pipeline.claimcheck.retries import retried
from pipeline.claimcheck.spool import spool
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    PayloadExpiresError,
    PayloadTooLargeError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)
from pipeline.metrics import Metric
from pipeline.metrics import table as metrics
from pipeline.metrics.recorder import Recorder
from pipeline.options import DAY_SECONDS, Options
from pipeline.stores.protocol import Store
from pipeline.telemetry import tracing

T = TypeVar("T")

Released = Claim | Handle
"""What names a payload that is to be deleted."""


class Offloaded(NamedTuple):
    """What ``ClaimCheck.offload`` has made."""

    claim: Claim
    trace: Mapping[str, str]
    """Trace context of the upload, as headers: for a message that belongs to no other trace."""


@dataclass(frozen=True, slots=True)
class ClaimCheck:
    """Moves values between a process and a store. Safe to share between threads and after a fork."""

    store: Store
    codec: Codec
    options: Options
    wire: Wire
    recorder: Recorder
    longest_wait_seconds: float = inf
    """How far ahead a task's ETA may be: its payload must outlive it, its queue and its dead letters."""
    stores: Mapping[str, Store] = field(default_factory=dict)
    """Further stores that handles may name, by alias."""
    owned: frozenset[str] = frozenset()
    """Aliases of those further stores from which handles may be deleted."""

    def put(self, source: Any, **about: Unpack[About]) -> Handle:
        """Store a value, bytes or a stream, and return a handle; see ``pipeline.put``."""
        return put_into(self, source, **about)

    def seal(self, value: Any) -> Inline:
        """Turn a value into a payload that may travel inline: encoded, and compressed where that pays.

        Raises:
            PayloadEncodeError: the value cannot be serialised.
            PayloadTooLargeError: it is above ``payload_limit_bytes``.
        """
        codec, raw = self.codec.encode(value)
        self._check_limit(len(raw))
        packed, data = compression.compress(raw)
        return Inline(data=data, codec=codec, compression=packed, expanded_bytes=len(raw))

    def offload(  # noqa: PLR0913 - what is known of the message, one by one
        self,
        sealed: Inline,
        *,
        task: str = "",
        task_id: str = "",
        queue: str = "",
        wait_seconds: float = 0.0,
        key: str | None = None,
    ) -> Offloaded:
        """Put a payload into the store, in the calling process.

        Args:
            sealed: the payload.
            task: name of the task that it is for.
            task_id: its id.
            queue: name of its queue.
            wait_seconds: how long it is until the task may run.
            key: where it goes; by default a new key, under the day on which the task may run.

        Raises:
            PayloadExpiresError: the task's ETA is so far ahead that its payload would have expired.
            StoreUnavailableError: the store stayed unavailable for ``store_retry_seconds``.
            StoreDeniedError: the store denies access.
        """
        self.check_wait(wait_seconds)
        due = datetime.now(UTC) + timedelta(seconds=wait_seconds)
        claim = claim_of(sealed, self.options.alias, key or new_key(self.store.prefix, due))
        with tracing.span("claimcheck offload", span_attributes(self.store, claim, task_id, task, queue)):
            self.store_payload(claim, sealed.data, TaskLabels(task, task_id, queue))
            return Offloaded(claim, tracing.active() or {})

    def store_payload(self, claim: Claim, data: bytes, labels: TaskLabels) -> None:
        """Put what a claim names into the store, in the calling process.

        Raises:
            StoreUnavailableError: the store stayed unavailable for ``store_retry_seconds``.
            StoreDeniedError: the store denies access.
        """
        about = metadata(claim.digest, labels)
        with self.timed(metrics.UPLOAD_SECONDS, labels.queue, labels.task):
            self.with_retries(lambda: self.store.put(claim.key, data, about))

    def check_wait(self, wait_seconds: float) -> None:
        """Check that a payload outlives the wait for its task's ETA.

        Raises:
            PayloadExpiresError: it would have expired.
        """
        if wait_seconds > self.longest_wait_seconds:
            raise PayloadExpiresError(
                f"payload would expire: its task is to run in {wait_seconds / DAY_SECONDS:.0f} days, and "
                f"payload_ttl_seconds leaves {self.longest_wait_seconds / DAY_SECONDS:.0f}; raise it, and "
                "the bucket's lifecycle rule with it, or send the task later"
            )

    def is_reusable(self, claim: Claim, sealed: Inline, wait_seconds: float = 0.0) -> bool:
        """Say whether a claim stands for just this payload, and may be published again, to run so late."""
        found = (claim.codec, claim.compression, claim.expanded_bytes, claim.size_bytes)
        return (
            found == (sealed.codec, sealed.compression, sealed.expanded_bytes, len(sealed.data))
            and is_young(claim, wait_seconds)
            and self.owns(claim)
            and digest_of(sealed.data) == claim.digest
        )

    def rehydrate(self, payload: Inline | Claim, queue: str = "", task: str = "") -> Any:
        """Bring a value back, in the process that executes the task: one read of the store at most.

        Raises:
            ClaimError: the claim names another store, a foreign key or an absurd size.
            PayloadTooLargeError: the claim states more than ``payload_limit_bytes``.
            PayloadMissingError, StoreDeniedError, StoreUnavailableError: from the store.
            PayloadCorruptError: size, digest or content differ from the claim.
        """
        if isinstance(payload, Inline):
            return self._rehydrate(payload, queue, task)
        about = span_attributes(self.store, payload, tracing.running(), task, queue)
        with tracing.span("claimcheck rehydrate", about):
            return self._rehydrate(payload, queue, task)

    def _rehydrate(self, payload: Inline | Claim, queue: str, task: str) -> Any:
        try:
            self._check_limit(payload.expanded_bytes)
            data = self._fetch(payload, queue, task)
            with self.timed(metrics.DECODE_SECONDS, queue, task):
                return self._open(payload, data)
        except PayloadCorruptError:
            self.recorder.record(metrics.PAYLOADS_CORRUPT, queue=queue, task=task)
            raise

    def _fetch(self, payload: Inline | Claim, queue: str, task: str) -> Bytes:
        if isinstance(payload, Inline):
            return payload.data
        self.check(payload)
        with self.timed(metrics.REHYDRATE_SECONDS, queue, task):
            ahead = spool.take(payload)
            if ahead is not None and digest_of(ahead) == payload.digest:
                return ahead
            return self._read(payload)

    def _read(self, claim: Claim) -> Bytes:
        data = self.with_retries(lambda: ranges.read(self.store, claim))
        if digest_of(data) != claim.digest:
            raise PayloadCorruptError(
                f"payload corrupt [key={claim.key}]: its digest differs from the one in the claim; "
                "something else wrote to the bucket, or the claim was forged"
            )
        return data

    def _open(self, payload: Inline | Claim, data: Bytes) -> Any:
        raw = compression.expand(payload.compression, data, payload.expanded_bytes)
        return self.codec.decode(payload.codec, raw)

    def check(self, claim: Claim) -> None:
        """Reject a claim that this process would not make.

        Raises:
            ClaimError: it names another store, a foreign key or more bytes than offloading makes.
        """
        if claim.store != self.options.alias:
            raise ClaimError(
                f"claim rejected [store={claim.store}]: this process knows {self.options.alias!r} only; "
                "give producers and workers the same alias"
            )
        check_key(claim.key, self.store.prefix)
        check_sizes(claim)

    def probe(self) -> None:
        """Put, get and delete a small object: each permission that is needed at run time.

        Raises:
            StoreDeniedError: one of them is missing, or the bucket is.
            StoreUnavailableError: the store does not answer.
        """
        key = new_key(self.store.prefix)
        self.store.put(key, b"claimcheck", {})
        self.store.get(key, len(b"claimcheck"))
        if self.store.delete([key]):
            raise StoreDeniedError(
                f"store denies access [key={key}]: put and get are allowed, delete is not; "
                "allow s3:DeleteObject"
            )

    def release(
        self, claims: Sequence[Released], report: Callable[[Mapping[str, StoreError]], None] = lambda _: None
    ) -> Sequence[Released]:
        """Delete payloads, and return the claims to try again later. Never raises; safe to call twice.

        Args:
            claims: of one store; those of a store that this app does not own are left alone, and those of
                packs, which end by their ledger.
            report: called once unless the store was unavailable, with the error of each orphan; the other
                payloads are deleted.
        """
        ours = {
            claim.key: claim
            for claim in claims
            if self.owns(claim) and getattr(claim, "offset", None) is None
        }
        if not ours:
            return ()
        store = self.stores.get(claims[0].store, self.store)
        try:
            with self.timed(metrics.RELEASE_SECONDS):
                left = self.with_retries(lambda: store.delete(list(ours)))
        except StoreUnavailableError:
            return list(ours.values())
        except StoreError as exc:
            left = dict.fromkeys(ours, exc)
        orphans = {key: why for key, why in left.items() if not why.retryable}
        self.recorder.record(metrics.PAYLOADS_RELEASED, len(ours) - len(left))
        self.orphan([ours[key] for key in orphans])
        report(orphans)
        return [ours[key] for key in left if key not in orphans]

    def release_at_once(self, claims: Sequence[Released], queue: str = "", task: str = "") -> None:
        """Delete payloads that no message names; those that the store does not delete now are orphans."""
        self.orphan(self.release(claims), queue, task)

    def orphan(self, claims: Sequence[Released], queue: str = "", task: str = "") -> None:
        """Count payloads that are left to the sweep and to the lifecycle rule."""
        if claims:
            self.recorder.record(metrics.PAYLOADS_ORPHANED, len(claims), queue=queue, task=task)

    def owns(self, claim: Released) -> bool:
        """Say whether a claim is one that this process may release the payload of."""
        try:
            owned_store(self, claim) if isinstance(claim, Handle) else self.check(claim)
        except (ClaimError, StoreDeniedError):
            return False
        return True

    def _check_limit(self, size_bytes: int) -> None:
        if size_bytes > self.options.payload_limit_bytes:
            raise PayloadTooLargeError(
                f"payload too large: {size_bytes} bytes, and payload_limit_bytes is "
                f"{self.options.payload_limit_bytes}; send less, or raise it for producers and workers"
            )

    def with_retries(self, call: Callable[[], T], most_seconds: float = inf) -> T:
        """Retry while the store is unavailable, for ``store_retry_seconds`` or ``most_seconds``."""
        return retried(call, min(self.options.store_retry_seconds, most_seconds))

    @contextmanager
    def timed(self, metric: Metric, queue: str = "", task: str = "") -> Iterator[None]:
        """Record how long a ``with`` block took, if it did not raise."""
        start = perf_counter()
        yield
        self.recorder.record(metric, perf_counter() - start, queue=queue, task=task)

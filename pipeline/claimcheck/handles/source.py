"""The payload of a handle: its bytes in order, and what else this process may do with it."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from blake3 import blake3
from msgspec.structs import replace

from pipeline.aws.limits import S3_URL_LIMIT_SECONDS
from pipeline.claimcheck import compression
from pipeline.claimcheck.handles.stores import owned_store, store_of
from pipeline.claimcheck.installed import installed
from pipeline.claimcheck.keys import ledger_key, ttl_days_of
from pipeline.claimcheck.memory import Bytes, read_whole
from pipeline.claimcheck.object_metadata import span_attributes
from pipeline.errors import (
    ClaimError,
    FramesDropped,
    PayloadCorruptError,
    PayloadMissingError,
    PayloadTooLargeError,
)
from pipeline.metrics import table as metrics
from pipeline.stores.protocol import Store
from pipeline.stores.ranges import RangeStore, ranges_of
from pipeline.telemetry import tracing

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck
    from pipeline.claimcheck.handles.handle import Handle

T = TypeVar("T")

RANGE_BYTES = 4 * 1024**2
"""Size of a range that is read. Ranges of 8 MiB, three at a time, took 73 MiB of memory for 5 GB."""

AHEAD_COUNT = 3
"""So many ranges are read at the same time; with the one that is being used, this bounds the memory."""


@dataclass(frozen=True, slots=True)
class Source:
    """A payload that this process may read."""

    claimcheck: "ClaimCheck"
    store: Store
    handle: "Handle"
    """With size and ETag."""

    @property
    def size_bytes(self) -> int:
        """Size of the object."""
        return self.handle.size_bytes or 0

    def load(self, queue: str = "", task: str = "") -> Any:
        """See ``Handle.load``.

        Args:
            queue: of the task that gets the value, for metrics and spans; empty if the task itself reads it.
            task: its name.
        """
        self._check_limit()
        with self.observed(queue, task):
            with self.claimcheck.timed(metrics.REHYDRATE_SECONDS, queue, task):
                data = self._whole()
            if self.handle.codec is None:
                return data
            with self.claimcheck.timed(metrics.DECODE_SECONDS, queue, task):
                return self._decoded(self.handle.codec, data)

    @property
    def _expanded_bytes(self) -> int:
        found = self.handle.expanded_bytes
        return self.size_bytes if found is None else found

    def _check_limit(self) -> None:
        limit = self.claimcheck.options.payload_limit_bytes
        if max(self._expanded_bytes, self.size_bytes) > limit:
            raise PayloadTooLargeError(
                f"payload too large [key={self.handle.key}]: {self._expanded_bytes} bytes, and "
                f"payload_limit_bytes is {limit}; use open(), chunks() or download()"
            )

    def _decoded(self, codec: str, data: Bytes) -> Any:
        raw = compression.expand(self.handle.compression, data, self._expanded_bytes)
        return self.claimcheck.codec.decode(codec, raw)

    def _whole(self) -> Bytes:
        if self.handle.digest is None:
            return b"".join(self._checked())
        data = self._asked(lambda: self._read(self.handle.key, self.size_bytes))
        self._note(data)
        self.check(blake3(data))
        return data

    def _read(self, key: str, size_bytes: int) -> Bytes:
        """Read an object; bytes that their user gets as they are need memory of Python's own."""
        if self.handle.codec is None:
            return self.store.get(key, size_bytes)
        return read_whole(self.store, key, size_bytes)

    @contextmanager
    def observed(self, queue: str = "", task: str = "") -> Iterator[None]:
        """Make a span around a read of the whole payload."""
        about = span_attributes(self.store, self.handle, tracing.running(), task, queue)
        with tracing.span("claimcheck rehydrate", about):
            yield

    def _asked(self, call: Callable[[], T]) -> T:
        return asked(self.claimcheck, self.handle, call)

    def _note(self, data: Bytes) -> None:
        self.claimcheck.recorder.record(metrics.HANDLE_READ_BYTES, len(data))

    def chunks(self) -> Iterator[bytes]:
        """See ``Handle.chunks``."""
        self.check_plain()
        return self._checked()

    def _checked(self) -> Iterator[bytes]:
        with FramesDropped():
            digest = blake3()
            for chunk in self.in_order():
                digest.update(chunk)
                yield chunk
            self.check(digest)

    def matches(self, digest: blake3) -> bool:
        """Return whether the digest of all bytes is the handle's; True if that has none."""
        return self.handle.digest in {None, f"blake3:{digest.hexdigest()}"}

    def check(self, digest: blake3) -> None:
        """Raise ``PayloadCorruptError`` if the digest of all bytes is not the handle's."""
        if not self.matches(digest):
            self.claimcheck.recorder.record(metrics.PAYLOADS_CORRUPT)
            raise PayloadCorruptError(
                f"payload corrupt [key={self.handle.key}]: its digest differs from the one in the handle; "
                "something else wrote to the bucket, or the handle was forged"
            )

    def check_plain(self) -> None:
        """Raise ``ClaimError`` for an encoded value, which has no bytes that anybody would read."""
        if self.handle.codec is not None:
            raise ClaimError(f"handle of a value [key={self.handle.key}]: use load()")

    def range(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` up to ``stop``, not included."""
        handle, ranges = self.handle, ranges_of(self.store)
        data = self._asked(
            lambda: ranges.get_range(handle.key, start, stop, etag=handle.etag, version=handle.version)
        )
        self._note(data)
        return data

    def in_order(self, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from ``start`` on, in ranges, some of which are read ahead by threads."""
        pool, ahead = ThreadPoolExecutor(AHEAD_COUNT, "claimcheck-transfer"), deque[Future[bytes]]()
        try:
            for begin in range(start, self.size_bytes, RANGE_BYTES):
                stop = min(begin + RANGE_BYTES, self.size_bytes)
                ahead.append(pool.submit(self.range, begin, stop))
                if len(ahead) == AHEAD_COUNT:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # without a wait: a soft time limit leaves little time
            pool.shutdown(wait=False, cancel_futures=True)


def of(handle: "Handle") -> Source:
    """Return the payload of a handle; asks the store for size and ETag if they are needed and not known.

    Raises:
        ClaimError: this process does not allow the handle's store or key.
        StoreError: the store has no such object, or did not answer.
    """
    claimcheck = installed()
    store = store_of(claimcheck, handle)
    if handle.size_bytes is None or (handle.etag is None and handle.codec is None):
        ranges = ranges_of(store)
        head = asked(claimcheck, handle, lambda: ranges.head(handle.key, handle.version))
        if handle.size_bytes not in {None, head.size_bytes}:
            raise PayloadCorruptError(
                f"payload corrupt [key={handle.key}]: size {head.size_bytes} bytes, the handle says "
                f"{handle.size_bytes}; another writer changed it"
            )
        handle = replace(handle, size_bytes=head.size_bytes, etag=head.etag)
    return Source(claimcheck, store, handle)


def asked(claimcheck: "ClaimCheck", handle: "Handle", call: Callable[[], T]) -> T:
    """Ask the store for the payload of a handle; if it is gone, the error says what may have ended it.

    Raises:
        StoreError: from the store.
    """
    try:
        return claimcheck.with_retries(call)
    except PayloadMissingError as exc:
        if handle.store != claimcheck.options.alias:  # nothing is known of what ends objects of others
            raise
        why = _why_gone(claimcheck, handle)
        raise PayloadMissingError(f"payload missing [key={handle.key}]: {why}") from exc


def _why_gone(claimcheck: "ClaimCheck", handle: "Handle") -> str:
    days = ttl_days_of(handle.key, claimcheck.store.prefix)
    if handle.uses is None:
        return f"its owner deleted it, or its ttl_days={days} are over; delete it later, or raise ttl_days"
    return (
        f"all of its uses={handle.uses} have ended, its owner deleted it, or its ttl_days={days} are over; "
        "count each task that gets it in uses, or raise ttl_days"
    )


def url(handle: "Handle", expires_seconds: int) -> str:
    """See ``Handle.url``."""
    if type(expires_seconds) is not int or not 0 < expires_seconds <= S3_URL_LIMIT_SECONDS:
        raise ValueError(
            f"expires_seconds={expires_seconds!r}: expected a whole number from 1 to {S3_URL_LIMIT_SECONDS}, "
            "seven days"
        )
    claimcheck = installed()
    ranges: RangeStore = ranges_of(store_of(claimcheck, handle))
    shown = {"ResponseContentType": handle.media_type}
    if handle.name:
        shown["ResponseContentDisposition"] = (
            f"attachment; filename*=UTF-8''{quote(handle.name, safe='', errors='replace')}"
        )
    return claimcheck.with_retries(
        lambda: ranges.url(handle.key, expires_seconds, version=handle.version, parameters=shown)
    )


def delete(handle: "Handle") -> None:
    """See ``Handle.delete``."""
    claimcheck = installed()
    store = owned_store(claimcheck, handle)
    keys = [handle.key] if handle.uses is None else [handle.key, ledger_key(handle.key)]
    for error in claimcheck.with_retries(lambda: store.delete(keys)).values():
        raise error
    claimcheck.recorder.record(metrics.PAYLOADS_RELEASED)

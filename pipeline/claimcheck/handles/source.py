"""Where a handle's payload is, whether this process may read it, and its bytes in order."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from blake3 import blake3
from msgspec.structs import replace

from pipeline.aws.limits import S3_URL_LIMIT_SECONDS
from pipeline.claimcheck import compression
from pipeline.claimcheck.installed import installed
from pipeline.claimcheck.keys import FORM, HANDLES, below, ledger_key, ttl_days_of
from pipeline.errors import (
    ClaimError,
    FramesDropped,
    PayloadCorruptError,
    PayloadTooLargeError,
    StoreDeniedError,
)
from pipeline.metrics.table import PAYLOADS_CORRUPT
from pipeline.stores.protocol import Store
from pipeline.stores.ranges import RangeStore, ranges_of

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck
    from pipeline.claimcheck.handles.handle import Handle

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

    def load(self) -> Any:
        """See ``Handle.load``."""
        handle = self.handle
        expanded_bytes = self.size_bytes if handle.expanded_bytes is None else handle.expanded_bytes
        if max(expanded_bytes, self.size_bytes) > self.claimcheck.options.payload_limit_bytes:
            raise PayloadTooLargeError(
                f"payload too large [key={handle.key}]: {expanded_bytes} bytes, and payload_limit_bytes is "
                f"{self.claimcheck.options.payload_limit_bytes}; use open(), chunks() or download()"
            )
        data = self._whole()
        if handle.codec is None:
            return data
        raw = compression.expand(handle.compression, data, expanded_bytes)
        return self.claimcheck.codec.decode(handle.codec, raw)

    def _whole(self) -> bytes:
        if self.handle.digest is None:
            return b"".join(self._checked())
        data = self.claimcheck.with_retries(lambda: self.store.get(self.handle.key, self.size_bytes))
        self.check(blake3(data))
        return data

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
            self.claimcheck.recorder.record(PAYLOADS_CORRUPT)
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
        return self.claimcheck.with_retries(
            lambda: ranges.get_range(handle.key, start, stop, etag=handle.etag, version=handle.version)
        )

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
    """Return the payload of a handle; asks the store for size and ETag if the handle lacks them.

    Raises:
        ClaimError: this process does not allow the handle's store or key.
        StoreError: the store has no such object, or did not answer.
    """
    claimcheck = installed()
    store = store_of(claimcheck, handle)
    if handle.size_bytes is None or handle.etag is None:
        ranges = ranges_of(store)
        head = claimcheck.with_retries(lambda: ranges.head(handle.key, handle.version))
        if handle.size_bytes not in {None, head.size_bytes}:
            raise PayloadCorruptError(
                f"payload corrupt [key={handle.key}]: size {head.size_bytes} bytes, the handle says "
                f"{handle.size_bytes}; another writer changed it"
            )
        handle = replace(handle, size_bytes=head.size_bytes, etag=head.etag)
    return Source(claimcheck, store, handle)


def store_of(claimcheck: "ClaimCheck", handle: "Handle") -> Store:
    """Return the store of a handle, if this process allows its key there. Does no I/O.

    Raises:
        ClaimError: it does not, or the handle is malformed.
    """
    if why := getattr(handle, "why", None):
        raise ClaimError(why)
    if handle.store == claimcheck.options.alias:
        return _own(claimcheck.store, handle.key)
    store = claimcheck.stores.get(handle.store)
    if store is None:
        known = ", ".join([claimcheck.options.alias, *claimcheck.stores])
        raise ClaimError(
            f"handle rejected [store={handle.store[:64]!r}]: this process knows {known}; give producers and "
            "workers the same alias and stores"
        )
    _check_below(handle.key, store.prefix)
    return store


def _own(store: Store, key: str) -> Store:
    if ttl_days_of(key, store.prefix) is None:
        raise ClaimError(
            f"handle rejected [key={key[:120]!r}]: expected {below(store.prefix, HANDLES)}<days>d/{FORM}; "
            "producer and worker must be given the same store"
        )
    return store


def _check_below(key: str, prefix: str) -> None:
    if not key.startswith(below(prefix, "")) or {".", ".."} & set(key.split("/")):
        raise ClaimError(
            f"handle rejected [key={key[:120]!r}]: expected a key below {below(prefix, '')!r} without '.' "
            "and '..'"
        )


def url(handle: "Handle", expires_seconds: int) -> str:
    """See ``Handle.url``."""
    if not 0 < expires_seconds <= S3_URL_LIMIT_SECONDS:
        raise ValueError(
            f"expires_seconds={expires_seconds}: expected 1 to {S3_URL_LIMIT_SECONDS}, seven days"
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


def owned_store(claimcheck: "ClaimCheck", handle: "Handle") -> Store:
    """Return the store of a handle, if this app may delete from it. Does no I/O.

    Raises:
        ClaimError: this process does not allow the handle's store or key.
        StoreDeniedError: the store is a further one, and not owned.
    """
    store = store_of(claimcheck, handle)
    if handle.store != claimcheck.options.alias and handle.store not in claimcheck.owned:
        raise StoreDeniedError(
            f"not deleted [store={handle.store}, key={handle.key}]: this app does not own that store; "
            "whoever put the object deletes it"
        )
    return store


def delete(handle: "Handle") -> None:
    """See ``Handle.delete``."""
    claimcheck = installed()
    store = owned_store(claimcheck, handle)
    keys = [handle.key] if handle.uses is None else [handle.key, ledger_key(handle.key)]
    for error in claimcheck.with_retries(lambda: store.delete(keys)).values():
        raise error

"""How an object is read from S3: in ranges where that is faster, and on from where a connection broke.

botocore repeats a request that fails, but nothing once its body has begun to arrive, so that is done here.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from math import ceil, inf
from threading import Timer
from time import monotonic
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from pipeline.errors import PayloadCorruptError, StoreUnavailableError
from pipeline.stores.aws.errors import answer_of, code_of
from pipeline.stores.protocol import deadline
from pipeline.stores.s3.obstore_transfer import ObstoreTransfer

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")
S = TypeVar("S")

PART_BYTES = 8 * 1024**2
"""Largest range, and size of an uploaded part. Measured at 20 ms round trip: 64 MiB take 67-97 ms in ranges,
and 385-465 ms in one stream."""

RANGE_BYTES = 2 * 1024**2
"""Smallest range: a payload of 4 MiB is read in two. Measured at 20 ms round trip: 8 MiB take 27-29 ms in
four ranges, and 49-67 ms in one stream."""

THREADS_COUNT = 8
"""Parts of one payload that are transferred at the same time."""

READ_BYTES = 1024**2
"""Bytes of one read, which urllib3 buffers; a connection that stalls or is reset loses no more than this.
Measured on ministack, 128 MiB: 64 KiB at a time take 223 ms, 256 KiB 164, 1 MiB 137, and 8 MiB 144 with 64
MiB more memory."""

READS_COUNT = 5
"""Attempts to read one range; each continues where the connection broke."""

SLOWEST_BYTES_PER_SECOND = 1024**2
"""Slowest accepted transfer: the deadline is extended by a second for each of these bytes."""

_BROKEN = (HTTPClientError, IncompleteReadError, HTTPError)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)\Z", re.ASCII)


class Place(NamedTuple):
    """Where an object is, and what reads it."""

    client: "S3Client"
    transfer: ObstoreTransfer | None
    """Reads it if it can."""
    bucket: str
    key: str


def read_object(place: Place, view: memoryview) -> None:
    """Fill ``view`` with an object's bytes, of which there must be just as many, or raise before reading.

    Raises:
        PayloadCorruptError: the object has another size.
        StoreUnavailableError: the connection broke too often.
        ClientError, BotoCoreError, HTTPError: boto3's, for the caller to map.
    """
    size_bytes = len(view)
    ranges_count = max(ceil(size_bytes / PART_BYTES), min(THREADS_COUNT, size_bytes // RANGE_BYTES), 1)
    step = ceil(size_bytes / ranges_count) or 1  # even ones: 16 MiB and a few bytes are eight of 2 MiB
    reading = _Reading(place, deadline() + size_bytes / SLOWEST_BYTES_PER_SECOND, size_bytes)

    def read(start: int) -> None:
        with view[start : start + step] as piece:  # a view that is left keeps its buffer from being closed
            reading.read(piece, start)

    in_parallel(read, range(0, max(size_bytes, 1), step))


def read_range(place: Place, start: int, stop: int, *, etag: str | None, version: str | None) -> bytes:
    """Return the bytes of an object from ``start`` up to ``stop``, not included.

    Raises:
        StoreUnavailableError: the connection broke too often.
        ClientError, BotoCoreError, HTTPError: boto3's, for the caller to map.
    """
    until = deadline() + (stop - start) / SLOWEST_BYTES_PER_SECOND
    reading = _Reading(place, until, etag=etag, version=version)
    return filled(stop - start, lambda view: reading.read(view, start))


def filled(size_bytes: int, fill: Callable[[memoryview], None]) -> bytes:
    """Return bytes that a function has filled in: without a copy, as no view of them is left."""
    buffer = BytesIO(bytes(size_bytes))
    with buffer.getbuffer() as view:
        fill(view)
    return buffer.getvalue()


def in_parallel(work: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """Return ``work`` of each item, in order, computed by threads that end with this call.

    The first failure, in the order of the items, is raised when the running calls have ended; the rest are
    not started.
    """
    if len(items) == 1:
        return [work(items[0])]
    with ThreadPoolExecutor(min(THREADS_COUNT, len(items)), "claimcheck-transfer") as pool:
        return list(pool.map(work, items))


@dataclass(frozen=True, slots=True)
class _Reading:
    place: Place
    until: float
    """Deadline on the monotonic clock."""
    size_bytes: int | None = None
    """Size of the whole object, if it is known."""
    etag: str | None = None
    version: str | None = None

    def read(self, view: memoryview, start: int) -> None:
        """Fill ``view`` from ``start`` of the object on; an error leaves no other view behind."""
        try:
            if not self._is_transferred(view, start):
                self._read(view, start)
        except BaseException as exc:
            _let_go(exc)
            raise

    def _read(self, view: memoryview, start: int) -> None:
        stop = start + len(view)
        etag, broken, filled = self.etag, None, 0
        for _ in range(READS_COUNT):
            body, begins, etag = self._open(start + filled, stop, etag)
            try:
                with cut_off(body, self.until):
                    for count in _copy_into(body, start + filled - begins, view[filled:]):
                        filled += count
            except _BROKEN as exc:
                _let_go(exc)
                broken = exc
            if filled == len(view):
                return
            if monotonic() >= self.until:
                break
        raise self._gave_up(start + filled) from broken

    def _is_transferred(self, view: memoryview, start: int) -> bool:
        transfer = self.place.transfer
        return transfer is not None and transfer.read(
            self.place.key,
            view,
            start,
            until=self.until,
            size_bytes=self.size_bytes,
            etag=self.etag,
            version=self.version,
        )

    def _open(self, start: int, stop: int, etag: str | None) -> "tuple[StreamingBody, int, str]":
        """Return a body, its first byte in the object, and the object's ETag."""
        conditions: Any = {"IfMatch": f'"{etag}"'} if etag else {}
        if self.version:
            conditions["VersionId"] = self.version
        if (start, stop) != (0, self.size_bytes):
            conditions["Range"] = f"bytes={start}-{stop - 1}"
        try:
            answer = self.place.client.get_object(Bucket=self.place.bucket, Key=self.place.key, **conditions)
        except ClientError as exc:
            if code_of(exc) == "InvalidRange":
                actual = answer_of(exc, "Error").get("ActualObjectSize", "fewer")
                raise self._another_size(actual, stop) from exc
            raise
        # A server without ranges answers 200 and the whole object.
        part = _CONTENT_RANGE.match(answer.get("ContentRange", ""))
        begins, total = (int(part[1]), int(part[2])) if part else (0, answer.get("ContentLength", -1))
        expected = total if self.size_bytes is None else self.size_bytes
        if total < stop or total != expected or begins > start:
            answer["Body"].close()
            raise self._another_size(total, stop)
        return answer["Body"], begins, answer.get("ETag", "").strip('"')

    def _gave_up(self, start: int) -> StoreUnavailableError:
        is_slow = monotonic() >= self.until
        why = "the transfer is too slow" if is_slow else f"{READS_COUNT} connections broke"
        return StoreUnavailableError(
            f"store unavailable [bucket={self.place.bucket}, key={self.place.key}]: {why}, "
            f"the last at byte {start} of {self.size_bytes or 'the object'}; try again later"
        )

    def _another_size(self, actual: object, stop: int) -> PayloadCorruptError:
        expected = f"{stop} or more" if self.size_bytes is None else self.size_bytes
        return PayloadCorruptError(
            f"payload corrupt [bucket={self.place.bucket}, key={self.place.key}]: size {actual} bytes, "
            f"claimed {expected}; another writer changed it, or the claim was forged"
        )


def _let_go(error: BaseException | None) -> None:
    """Clear the variables of functions that an error has left: they have views of the payload.

    An error and such a function may keep each other, and so the buffer, until a garbage collection: Python
    3.12.0 and 3.12.1 crash in it. Source: python/cpython, issue 111049; fixed in 3.12.2.
    """
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@contextmanager
def cut_off(body: "StreamingBody", until: float) -> Iterator[None]:
    """Close a body's connection at a deadline: a read timeout does not end one that sends a byte a second.

    Source: urllib3 2.3, ``HTTPResponse.shutdown``, which other threads may call.
    """
    if until == inf:
        yield
        return
    timer = Timer(max(until - monotonic(), 0), _shut, [body])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(body: "StreamingBody") -> None:
    with suppress(ValueError, RuntimeError, OSError):  # already read
        body._raw_stream.shutdown()  # type: ignore[attr-defined]  # noqa: SLF001


def _copy_into(body: "StreamingBody", skip_bytes: int, view: memoryview) -> Iterator[int]:
    """Fill ``view`` from a body after its first ``skip_bytes``; yield the number of bytes of each read."""
    with closing(body):
        while skip_bytes and (skipped := body.read(min(skip_bytes, READ_BYTES))):
            skip_bytes -= len(skipped)
        while view and (count := body.readinto(view[:READ_BYTES])):  # type: ignore[arg-type]  # stubs: IO
            view = view[count:]
            yield count

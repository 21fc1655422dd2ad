"""A value or a stream becomes the payload of a handle: in parts, in bounded memory."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from math import ceil
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from blake3 import blake3

from pipeline.aws.limits import S3_OBJECT_LIMIT_BYTES, S3_PARTS_COUNT
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.installed import installed
from pipeline.claimcheck.keys import new_handle_key
from pipeline.errors import FramesDropped, PayloadEncodeError, PayloadTooLargeError
from pipeline.stores.ranges import Upload, ranges_of
from pipeline.telemetry import tracing

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

PART_BYTES = 8 * 1024**2
"""Size of a part, as long as 10,000 of them are enough."""

PARTS_AHEAD_COUNT = 3
"""So many parts are sent at the same time; with the one that is being read, this bounds the memory."""

GROWS_EACH_COUNT = 2_000
"""After so many parts of a stream of unknown size, parts are twice as large: 10,000 hold 484 GiB."""

DEFAULT_TTL_DAYS = 7

Progress = Callable[[int, int | None], None]


class About(TypedDict, total=False):
    """The optional arguments of ``pipeline.put``."""

    name: str | None
    media_type: str | None
    ttl_days: int
    uses: int | None
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What is to be stored, as something to read from."""

    read: Callable[[int], bytes]
    """Returns so many bytes or fewer, and none at the end."""
    total_bytes: int | None = None
    name: str | None = None
    encoding: dict[str, Any] = field(default_factory=dict)
    """Fields of the handle of a value."""

    def parts(self) -> Iterator[bytes]:
        """Yield the parts, one at least; the last one may be smaller than the others.

        Raises:
            PayloadEncodeError: what is read are no bytes.
            PayloadTooLargeError: it is larger than an object may be.
        """
        for number in range(1, S3_PARTS_COUNT + 1):
            part = self._part(_part_bytes(number, self.total_bytes))
            if part or number == 1:
                yield part
            if not part:
                return
        if self.read(1):
            raise PayloadTooLargeError(
                f"handle not stored: {S3_PARTS_COUNT} parts are not enough; give a path"
            )

    def _part(self, size_bytes: int) -> bytes:
        pieces: list[bytes] = []
        while size_bytes and (piece := self.read(size_bytes)):
            if not isinstance(piece, bytes | bytearray | memoryview):
                kind = type(piece).__name__
                raise PayloadEncodeError(
                    f"handle not stored: the source yields {kind} and not bytes; open files in binary mode"
                )
            pieces.append(bytes(piece))
            size_bytes -= len(piece)
        return b"".join(pieces)


def _part_bytes(number: int, total_bytes: int | None) -> int:
    if total_bytes is not None:
        return max(PART_BYTES, ceil(total_bytes / S3_PARTS_COUNT))
    return PART_BYTES << (number - 1) // GROWS_EACH_COUNT


class _Chunks:
    """An iterator of chunks, to read from."""

    def __init__(self, chunks: Iterator[Any]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def read(self, size_bytes: int) -> Any:
        """Return a piece of a chunk, nothing at the end, and as it is what is no bytes."""
        while not self._left:
            chunk = next(self._chunks, None)
            if not isinstance(chunk, bytes | bytearray | memoryview):
                return b"" if chunk is None else chunk
            self._left = memoryview(chunk).cast("B")
        piece, self._left = self._left[:size_bytes], self._left[size_bytes:]
        return piece


@contextmanager
def _opened(claimcheck: "ClaimCheck", source: Any) -> Iterator[Stream]:
    """Open what is to be stored: bytes, a path, a file, an iterator of chunks, or else a value."""
    if isinstance(source, os.PathLike):
        with Path(source).open("rb") as file:
            yield Stream(read=file.read, total_bytes=os.fstat(file.fileno()).st_size, name=Path(source).name)
    elif isinstance(source, bytes | bytearray | memoryview):
        yield Stream(read=BytesIO(source).read, total_bytes=memoryview(source).nbytes)
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        yield Stream(read=source.read, name=Path(name).name if isinstance(name, str) else None)
    elif isinstance(source, Iterator):
        yield Stream(read=_Chunks(source).read)
    else:
        sealed = claimcheck.seal(source)
        encoding = {
            "codec": sealed.codec,
            "compression": sealed.compression,
            "expanded_bytes": sealed.expanded_bytes,
        }
        yield Stream(read=BytesIO(sealed.data).read, total_bytes=len(sealed.data), encoding=encoding)


def put(  # noqa: PLR0913 - one by one, as callers give them
    source: Any,
    *,
    name: str | None = None,
    media_type: str | None = None,
    ttl_days: int = DEFAULT_TTL_DAYS,
    uses: int | None = None,
    progress: Progress | None = None,
) -> Handle:
    """Store a value, bytes or a stream, and return a handle: a small argument for tasks.

    Streams in bounded memory, 48 MiB; a value is encoded as a whole. Nothing is overwritten, and nothing
    stays in the store if it fails. Runs in any process where ``pipeline.install`` was called.

    Args:
        source: bytes; a ``pathlib.Path``; a file that is open in binary mode, read from where it is; an
            iterator of chunks of bytes; or else a value, also a str, as a task's argument could be.
        name: name of the file; by default that of the path or file.
        media_type: by default what the name suggests.
        ttl_days: 1, 7, 30 or 90: after so many days the lifecycle rule of this class deletes the payload. It
            must outlive the messages that carry the handle.
        uses: how many tasks use it; the end of the last one deletes the payload.
        progress: called after each part of 8 MiB, with the bytes that are stored so far, and with all bytes
            or None if their number is not known.

    Raises:
        ClaimError: ``pipeline.install`` was not called in this process.
        ValueError: an argument is out of range, or the store has no parts and ranges.
        PayloadEncodeError: a value cannot be serialised, or a source yields no bytes.
        PayloadTooLargeError: a value is above ``payload_limit_bytes``, or a stream above S3's limit.
        StoreUnavailableError: the store stayed unavailable for ``store_retry_seconds``.
        StoreDeniedError: the store denies access.
        OSError: a file cannot be read.
    """
    about = About(name=name, media_type=media_type, ttl_days=ttl_days, uses=uses, progress=progress)
    return put_into(installed(), source, **about)


def put_into(  # noqa: PLR0913 - as above
    claimcheck: "ClaimCheck",
    source: Any,
    *,
    name: str | None = None,
    media_type: str | None = None,
    ttl_days: int = DEFAULT_TTL_DAYS,
    uses: int | None = None,
    progress: Progress | None = None,
) -> Handle:
    """See ``put``."""
    ranges = ranges_of(claimcheck.store)
    key = new_handle_key(claimcheck.store.prefix, ttl_days)
    with FramesDropped(), _opened(claimcheck, source) as stream:
        if (stream.total_bytes or 0) > S3_OBJECT_LIMIT_BYTES:
            raise PayloadTooLargeError(
                f"handle not stored: {stream.total_bytes} bytes are more than S3 takes"
            )
        name = name or stream.name
        media_type = media_type or guess_type(name or "")[0] or "application/octet-stream"
        upload = ranges.upload(key, tracing.metadata(), media_type)
        sending = _Sending(claimcheck, upload, stream.total_bytes, progress)
        etag = sending.send(stream.parts())
        return Handle(
            store=claimcheck.options.alias,
            key=key,
            size_bytes=sending.read_bytes,
            digest=f"blake3:{sending.digest.hexdigest()}",
            media_type=media_type,
            name=name,
            etag=etag,
            uses=uses,
            created=datetime.now(UTC),
            **stream.encoding,
        )


class _Sending:
    """Parts on their way into the store, some at the same time."""

    def __init__(
        self, claimcheck: "ClaimCheck", upload: Upload, total_bytes: int | None, progress: Progress | None
    ) -> None:
        self._retry = claimcheck.with_retries
        self._upload = upload
        self._total_bytes = total_bytes
        self._progress = progress
        self._sending: deque[Future[int]] = deque()
        self._sent_bytes = 0
        self.read_bytes = 0
        self.digest = blake3()

    def send(self, parts: Iterator[bytes]) -> str:
        """Send all parts, and return the ETag of the object; drop what was sent if that fails."""
        try:
            first = self._read(parts)
            if len(first) < PART_BYTES:
                etag = self._retry(lambda: self._upload.whole(first))
                self._note(len(first))
                return etag
            self._send_parts(first, parts)
            return self._retry(self._upload.complete)
        except BaseException:
            self._upload.abort()
            raise

    def _send_parts(self, part: bytes, parts: Iterator[bytes]) -> None:
        with ThreadPoolExecutor(PARTS_AHEAD_COUNT, "claimcheck-transfer") as pool:
            number = 1
            try:
                while part:
                    start = self.read_bytes - len(part)
                    self._sending.append(pool.submit(self._send_part, number, start, part))
                    if len(self._sending) == PARTS_AHEAD_COUNT:
                        self._note(self._sending.popleft().result())
                    number, part = number + 1, self._read(parts)
                while self._sending:
                    self._note(self._sending.popleft().result())
            finally:
                for each in self._sending:
                    each.cancel()

    def _send_part(self, number: int, start: int, part: bytes) -> int:
        self._retry(lambda: self._upload.part(number, start, part))
        return len(part)

    def _read(self, parts: Iterator[bytes]) -> bytes:
        part = next(parts, b"")
        self.read_bytes += len(part)
        self.digest.update(part)
        return part

    def _note(self, sent_bytes: int) -> None:
        self._sent_bytes += sent_bytes
        if self._progress is not None:
            self._progress(self._sent_bytes, self._total_bytes)

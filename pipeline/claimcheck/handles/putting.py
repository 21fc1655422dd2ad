"""A value or a stream becomes the payload of a handle: in parts, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from pipeline.claimcheck import ledger
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.handles.streams import PART_BYTES, opened
from pipeline.claimcheck.installed import installed
from pipeline.claimcheck.keys import new_handle_key
from pipeline.claimcheck.object_metadata import span_attributes
from pipeline.errors import FramesDropped
from pipeline.metrics import table as metrics
from pipeline.stores.ranges import Upload, ranges_of
from pipeline.telemetry import tracing

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

PARTS_AHEAD_COUNT = 3
"""So many parts are sent at the same time; with the one that is being read, this bounds the memory."""

DEFAULT_TTL_DAYS = 7

Progress = Callable[[int, int | None], None]


class About(TypedDict, total=False):
    """The optional arguments of ``pipeline.put``."""

    name: str | None
    media_type: str | None
    ttl_days: int
    uses: int | None
    progress: Progress | None


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

    Streams in bounded memory, 50 MiB; a value is encoded as a whole. Nothing is overwritten, and nothing
    stays in the store if it fails. Runs in any process where ``pipeline.install`` was called.

    Args:
        source: bytes; a ``pathlib.Path``; a file that is open in binary mode, read from where it is; an
            iterator of chunks of bytes; or else a value, also a str, as a task's argument could be.
        name: name of the file; by default that of the path or file.
        media_type: by default what the name suggests.
        ttl_days: 1, 7, 30 or 90: after so many days the lifecycle rule of this class deletes the payload. It
            must outlive the messages that carry the handle.
        uses: how many tasks get it; the end of the last one deletes the payload. See ``shared``.
        progress: called after each part of 8 MiB, with the bytes that are stored so far, and with all bytes
            or None if their number is not known.

    Raises:
        ClaimError: ``pipeline.install`` was not called in this process.
        ValueError: an argument is out of range, or the store has no parts and ranges, or, with ``uses``, no
            conditional writes.
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
    if uses is not None:
        ledger.check_members_count(uses)
    key = new_handle_key(claimcheck.store.prefix, ttl_days)
    with FramesDropped(), opened(claimcheck, source) as stream:
        described = _described(
            store=claimcheck.options.alias,
            key=key,
            name=name or stream.name,
            media_type=media_type,
            uses=uses,
        )
        with tracing.span("claimcheck offload", span_attributes(claimcheck.store, described, "", "", "")):
            upload = ranges.upload(key, tracing.metadata(), described.media_type)
            sending = _Sending(claimcheck, upload, stream.total_bytes, progress)
            with claimcheck.timed(metrics.UPLOAD_SECONDS):
                etag = sending.send(stream.parts())
        if uses is not None:
            ledger.make_or_delete(claimcheck, key, uses)
        claimcheck.recorder.record(metrics.PAYLOADS_OFFLOADED)
        claimcheck.recorder.record(metrics.HANDLE_STORED_BYTES, sending.read_bytes)
        return replace(
            described,
            size_bytes=sending.read_bytes,
            digest=f"blake3:{sending.digest.hexdigest()}",
            etag=etag,
            created=datetime.now(UTC),
            **stream.encoding,
        )


def _described(name: Any, media_type: Any, **fields: Any) -> Handle:
    """Return what is known of a handle before it is stored, or raise ``ValueError``."""
    if media_type is None and isinstance(name, str):
        media_type = guess_type(name)[0]
    if isinstance(media_type, str) and not (media_type.isascii() and media_type.isprintable()):
        raise ValueError(
            "handle not stored: media_type has characters that no header takes; give such as text/csv"
        )
    typed = {} if media_type is None else {"media_type": media_type}
    try:
        return msgspec.convert({"name": name, **typed, **fields}, Handle)
    except msgspec.ValidationError as exc:
        raise ValueError(f"handle not stored: {exc}") from None


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

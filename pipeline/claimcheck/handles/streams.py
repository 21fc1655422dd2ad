"""What is put for a handle, as a stream of parts: bytes, a path, a file, chunks, or a value."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.aws.limits import S3_OBJECT_LIMIT_BYTES, S3_PARTS_COUNT
from pipeline.errors import PayloadEncodeError, PayloadTooLargeError

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

PART_BYTES = 8 * 1024**2
"""Size of a part, as long as 10,000 of them are enough."""

GROWS_EACH_COUNT = 2_000
"""After so many parts of a stream of unknown size, parts are twice as large: 10,000 hold 484 GiB."""


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
        if (self.total_bytes or 0) > S3_OBJECT_LIMIT_BYTES:
            raise PayloadTooLargeError(f"handle not stored: S3 takes no object of {self.total_bytes} bytes")
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
def opened(claimcheck: "ClaimCheck", source: Any) -> Iterator[Stream]:
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

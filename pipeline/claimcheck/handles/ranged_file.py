"""A handle's payload as a file: it reads ranges, and ahead of a reader that goes on from where it was."""

import io
from collections.abc import Generator
from typing import TYPE_CHECKING, cast

from pipeline.claimcheck.handles.source import RANGE_BYTES, Source

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FIRST_BYTES = 256 * 1024
"""Size of the first range at a new position: a ZIP's directory and a Parquet file's footer fit. A reader that
goes on gets four times as much, until ranges are read ahead."""

BUFFER_BYTES = 128 * 1024
"""What Python's own buffer holds, so that small reads cost nothing."""


class RangedFile(io.RawIOBase):
    """An object, to read and to seek in. Not safe to share between threads; its buffer is."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0
        self._begins = 0
        self._held = b""
        self._step = FIRST_BYTES
        self._ahead: Generator[bytes] | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position, without I/O, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek value {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, target: "WriteableBuffer") -> int:
        """Fill ``target`` from the position on, as far as a range reaches; return the number of bytes."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        view = memoryview(target).cast("B")
        if not view or self._position >= self._source.size_bytes:
            return 0
        if not self._begins <= self._position < self._begins + len(self._held):
            self._fetch(len(view))
        start = self._position - self._begins
        found = memoryview(self._held)[start : start + len(view)]
        view[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _fetch(self, wanted_bytes: int) -> None:
        goes_on = bool(self._held) and self._position == self._begins + len(self._held)
        self._held = b""  # free it before the next one comes
        if not goes_on:
            self._stop()
        self._begins, self._held = self._position, self._next(wanted_bytes)

    def _next(self, wanted_bytes: int) -> bytes:
        if self._step > RANGE_BYTES:
            self._ahead = self._ahead or cast("Generator[bytes]", self._source.in_order(self._position))
            return next(self._ahead)
        size_bytes = min(max(wanted_bytes, self._step), RANGE_BYTES)
        self._step *= 4
        return self._source.range(self._position, min(self._position + size_bytes, self._source.size_bytes))

    def _stop(self) -> None:
        self._step = FIRST_BYTES
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def close(self) -> None:
        """Close the file, and end what is read ahead. Safe to call twice."""
        self._stop()
        self._held = b""
        super().close()


def opened(source: Source) -> io.BufferedReader:
    """See ``Handle.open``."""
    source.check_plain()
    return io.BufferedReader(RangedFile(source), BUFFER_BYTES)

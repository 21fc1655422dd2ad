"""Messages of HTTP as they travel: heads, answers and bodies."""

import http
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, Self

PIECE_BYTES = 262_144
"""How much of a body is in memory at a time."""


class Head:
    """First line and headers of a message, and the bytes that they came as."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.start, *self.lines = lines
        named = (line.decode("latin-1").partition(":") for line in self.lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in named}

    @classmethod
    def read(cls, stream: BinaryIO) -> Self | None:
        """Read one head, or None at the end of the stream."""
        lines: list[bytes] = []
        while (line := stream.readline()) not in {b"\r\n", b""}:
            lines.append(line)
        if lines and not line:
            raise ConnectionError("the head of a message ended early")
        return cls(lines) if lines else None

    @property
    def raw(self) -> bytes:
        """Return the head as it travels."""
        return b"".join([self.start, *self.lines, b"\r\n"])

    @property
    def length(self) -> int | None:
        """Size of the body as promised, None if it is not."""
        text = self.headers.get("content-length")
        return int(text) if text is not None else None

    @property
    def is_chunked(self) -> bool:
        """Return whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def status(self) -> int:
        """Status of an answer."""
        return int(self.start.split()[1])

    @property
    def is_kept(self) -> bool:
        """Return whether the server keeps the connection."""
        return self.start.startswith(b"HTTP/1.1") and self.headers.get("connection", "").lower() != "close"

    def without_connection(self) -> "Head":
        """Return the same head for a connection that stays open."""
        start = self.start.replace(b"HTTP/1.0", b"HTTP/1.1")
        return Head([start, *(line for line in self.lines if line[:11].lower() != b"connection:")])


@dataclass
class Answer:
    """What the server said; its body is still on the way."""

    head: Head
    body: Iterator[bytes]
    length: int
    """Size of the body, 0 if it is unknown."""
    stays_open: bool
    """The client's connection may be used again."""
    is_kept: bool = False
    """So may the server's."""

    @classmethod
    def read(cls, stream: BinaryIO, method: str) -> Self:
        """Read the head of an answer."""
        head = Head.read(stream)
        while head and head.status == http.HTTPStatus.CONTINUE:
            head = Head.read(stream)
        if head is None:
            raise ConnectionError("the server closed the connection")
        if method == "HEAD" or head.status in {204, 304}:
            return cls(head.without_connection(), iter(()), 0, stays_open=True, is_kept=head.is_kept)
        if head.length is None and not head.is_chunked:
            return cls(head, iter(lambda: stream.read(PIECE_BYTES), b""), 0, stays_open=False)
        content, length = body(stream, head), head.length or 0
        return cls(head.without_connection(), content, length, stays_open=True, is_kept=head.is_kept)

    def whole(self) -> Iterator[bytes]:
        """Return head and body."""
        return chain([self.head.raw], self.body)

    def half(self) -> Iterator[bytes]:
        """Yield the head and half of the body, or half of the first line if there is no body.

        Python's http.client takes headers that end early for all there are, and reports a success.
        """
        left = len(self.head.raw) + self.length // 2 if self.length else len(self.head.start) // 2
        for piece in self.whole():
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return

    def nothing(self) -> Iterator[bytes]:
        """Take the whole body from the server, and yield nothing of it."""
        for piece in self.body:
            yield piece[:0]

    def flipped(self) -> Iterator[bytes]:
        """Yield everything, with one bit of the body's first byte wrong."""
        yield self.head.raw
        if self.head.is_chunked:
            yield next(self.body)
        for piece in self.body:
            yield bytes([piece[0] ^ 1]) + piece[1:]
            break
        yield from self.body


def body(stream: BinaryIO, head: Head) -> Iterator[bytes]:
    """Yield a body as it travels, marks of chunks included."""
    return _chunks(stream) if head.is_chunked else _pieces(stream, head.length or 0)


def _pieces(stream: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    while size_bytes:
        piece = stream.read(min(size_bytes, PIECE_BYTES))
        if not piece:
            raise ConnectionError("a body ended early")
        yield piece
        size_bytes -= len(piece)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while size_bytes := int((line := stream.readline()).split(b";")[0], 16):
        yield line
        yield from _pieces(stream, size_bytes + len(b"\r\n"))
    yield line
    while (line := stream.readline()) not in {b"\r\n", b""}:
        yield line
    yield b"\r\n"

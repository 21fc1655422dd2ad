"""Large buffers of arrays and tables, written beside the value that names them: neither way copies them.

A value with such buffers is one extension 3, an array of binaries ``[head, padding, buffer, padding, buffer,
…]``. The head is the value in MessagePack, in which an integer, counted from 0, stands for each buffer. The
padding puts each buffer at a multiple of ``ALIGNMENT`` from the start of the payload, as numpy and Arrow want
it. Writing copies a buffer once, into the payload; what is read is a view of the payload, and read-only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

BUFFERED = 3
"""Code of the extension."""

ALIGNMENT = 64
"""Source: Arrow columnar format, "Buffer Alignment and Padding"."""

LEAST_BYTES = 4_096
"""A smaller buffer is written where it is named."""

_HEAD_BYTES = 6 + 5
"""Heads of an extension and an array with 32-bit sizes. Source: MessagePack specification."""
_BINARY_BYTES = 5
"""Head of a binary with a 32-bit size."""

_beside: ContextVar[list[memoryview] | None] = ContextVar("beside", default=None)

_decode = msgspec.msgpack.Decoder(list[memoryview]).decode


@contextmanager
def collected() -> Iterator[list[memoryview]]:
    """Collect the buffers of what is written in a ``with`` block."""
    beside: list[memoryview] = []
    token = _beside.set(beside)
    try:
        yield beside
    finally:
        _beside.reset(token)


def named(view: memoryview) -> bytes | int:
    """Return what stands for a buffer in the value that is being written."""
    beside = _beside.get()
    if beside is None or view.nbytes < LEAST_BYTES:
        return bytes(view)
    beside.append(view)
    return len(beside) - 1


def found(name: object, beside: Sequence[memoryview]) -> memoryview:
    """Return the buffer that ``named`` stands for.

    Raises:
        ValueError: it is none.
    """
    if type(name) is bytes:
        return memoryview(name)
    if type(name) is int and 0 <= name < len(beside):
        return beside[name]
    raise ValueError("no such buffer")


def joined(head: bytes, beside: Sequence[memoryview]) -> bytes:
    """Return a payload of a value and its buffers."""
    pieces: list[bytes | memoryview] = [_binary(len(head)), head]
    size_bytes = _HEAD_BYTES + _BINARY_BYTES + len(head)
    for view in beside:
        padding = -(size_bytes + 2 * _BINARY_BYTES) % ALIGNMENT
        pieces += [_binary(padding), bytes(padding), _binary(view.nbytes), view]
        size_bytes += 2 * _BINARY_BYTES + padding + view.nbytes
    array = b"\xdd" + (1 + 2 * len(beside)).to_bytes(4)
    extension = b"\xc9" + (size_bytes - 6).to_bytes(4) + bytes([BUFFERED])
    return b"".join([extension, array, *pieces])


def _binary(size_bytes: int) -> bytes:
    return b"\xc6" + size_bytes.to_bytes(4)


def split(data: memoryview) -> tuple[memoryview, list[memoryview]]:
    """Return the head and the buffers in an extension.

    Raises:
        msgspec.MsgspecError, ValueError: there are none.
    """
    head, *rest = _decode(data)
    return head, rest[1::2]

"""What crosses the pipe to the reading process: a kind, a length, and a claim."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from pipeline.claimcheck.claim import Claim

ASKED, STARTED = b"+", b"-"
"""A message waits for a process of the pool; it waits no longer."""

_HEAD = struct.Struct("!cH")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claim).decode


def record(kind: bytes, claim: Claim) -> bytes:
    """Return a record: some hundred bytes, which a pipe takes at once or not at all (pipe(7), PIPE_BUF)."""
    content = _encode(claim)
    return _HEAD.pack(kind, len(content)) + content


def records(stream: BinaryIO) -> Iterator[tuple[bytes, Claim]]:
    """Yield what is written to a pipe until all its writers have closed it."""
    while len(head := stream.read(_HEAD.size)) == _HEAD.size:
        kind, size = _HEAD.unpack(head)
        yield kind, _decode(stream.read(size))

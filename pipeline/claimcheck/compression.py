"""Zstandard compression where it saves bytes; expansion stops at the size that was promised.

Level 1: level 3 is slower and no smaller on realistic records
(docs/explanation/codec.md has the figures).
"""

import sys
from collections.abc import Iterator
from io import BytesIO

from pipeline.claimcheck.memory import Bytes, allocated, consumed
from pipeline.errors import ClaimError, PayloadCorruptError

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

NONE = "none"
ZSTD = "zstd"

LEVEL = 1
SMALLEST_BYTES = 512
"""Below this a frame's own header eats what is gained."""
LARGE_BYTES = 262_144
"""A larger payload is sampled before it is compressed."""
SLICE_BYTES = 16_384
"""Size of each of the slices that stand for a large payload."""
SLICE_EVERY_BYTES = 1024**2
"""A large payload has a slice for each of these bytes, and at least three."""
CHUNK_BYTES = 1024**2
"""Most that is compressed or expanded at a time."""
WINDOW_LOG = 23
"""8 MiB: the window that every decoder should support, and most that one for foreign data takes for itself.
Source: RFC 8878, 3.1.1.1.2."""
WORTHWHILE = 0.9
"""Compression pays when it leaves less than this share. base64 leaves 0.75, floating-point numbers 0.93."""


def compress(raw: bytes) -> tuple[str, bytes]:
    """Return the compression used and the bytes: ``none`` and ``raw`` itself where it does not pay."""
    if len(raw) < SMALLEST_BYTES or (len(raw) > LARGE_BYTES and not _pays(_sample(raw))):
        return NONE, raw
    packed = _packed(raw) if len(raw) > CHUNK_BYTES else zstd.compress(raw, LEVEL)
    return (ZSTD, packed) if len(packed) < len(raw) * WORTHWHILE else (NONE, raw)


def _packed(raw: bytes) -> bytes:
    """Compress piece by piece into one buffer, where ``zstd.compress`` would have the result twice.

    The buffer has its largest size at once, as the pages that nobody writes to take no memory. One that grows
    leaves a third of itself behind.
    """
    compressor, packed, view = zstd.ZstdCompressor(LEVEL), BytesIO(bytes(len(raw))), memoryview(raw)
    for at in range(0, len(raw), CHUNK_BYTES):
        packed.write(compressor.compress(view[at : at + CHUNK_BYTES]))
    packed.write(compressor.flush())
    packed.truncate()
    return packed.getvalue()


def _pays(sample: bytes) -> bool:
    return len(zstd.compress(sample, LEVEL)) < len(sample) * WORTHWHILE


def _sample(raw: bytes) -> bytes:
    """Return slices of a large payload: its start, its end, and at even distances between."""
    view, last = memoryview(raw), len(raw) - SLICE_BYTES
    gaps = max(2, len(raw) // SLICE_EVERY_BYTES)
    starts = (last * number // gaps for number in range(gaps + 1))
    return b"".join(view[start : start + SLICE_BYTES] for start in starts)


def expand(name: str, data: Bytes, expanded_bytes: int) -> Bytes:
    """Undo ``compress``, producing exactly ``expanded_bytes``; stops at the first bytes beyond.

    Where there is something to undo, the memory of ``data`` is given back: it must not be read again.

    Raises:
        PayloadCorruptError: the data are broken, or expand to another size.
        ClaimError: ``name`` is a compression that this release does not know.
    """
    if name == NONE:
        expanded, complete = data, True
    elif name == ZSTD:
        expanded, complete = _expand_zstd(data, expanded_bytes)
    else:
        raise ClaimError(
            f"claim rejected [compression={name}]: expected {NONE} or {ZSTD}; upgrade this worker"
        )
    if not complete or len(expanded) != expanded_bytes:
        raise PayloadCorruptError(
            f"payload corrupt: it does not expand to the {expanded_bytes} bytes that its claim states"
        )
    return expanded


def foreign_stream() -> zstd.ZstdDecompressor:
    """Return a decompressor for untrusted data; the caller bounds its output."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


def _expand_zstd(data: Bytes, expanded_bytes: int) -> tuple[memoryview, bool]:
    decompressor, expanded, at = zstd.ZstdDecompressor(), allocated(expanded_bytes), 0
    pieces = consumed(data)
    try:
        for chunk in _chunks(decompressor, pieces):
            if at + len(chunk) > expanded_bytes:
                return expanded, False
            expanded[at : at + len(chunk)] = chunk
            at += len(chunk)
    except zstd.ZstdError as exc:
        raise PayloadCorruptError(f"payload corrupt: zstd cannot read it: {exc}") from exc
    is_whole = decompressor.eof and not decompressor.unused_data and next(pieces, None) is None
    return expanded.toreadonly(), is_whole and at == expanded_bytes


def _chunks(decompressor: zstd.ZstdDecompressor, pieces: Iterator[memoryview]) -> Iterator[bytes]:
    """Yield what pieces expand to, up to the end of the frame; one piece may expand to very much."""
    for piece in pieces:
        left: Bytes = piece
        while not decompressor.eof:
            yield decompressor.decompress(left, max_length=CHUNK_BYTES)
            left = b""
            if decompressor.needs_input:
                break
        if decompressor.eof:
            return

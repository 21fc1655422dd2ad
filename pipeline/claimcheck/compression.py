"""Zstandard compression where it saves bytes; expansion stops at the size that was promised.

Level 1: level 3 is slower and no smaller on realistic records
(docs/explanation/codec.md has the figures).
"""

import sys
from collections.abc import Iterator

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
SAMPLE_BYTES = 65_536
"""Size of each of the three slices that stand for a large payload."""
WINDOW_LOG = 23
"""8 MiB: the window that every decoder should support, and most that one for foreign data takes for itself.
Source: RFC 8878, 3.1.1.1.2."""
WORTHWHILE = 0.9
"""Compression pays when it leaves less than this share."""


def compress(raw: bytes) -> tuple[str, bytes]:
    """Return the compression used and the bytes: ``none`` and ``raw`` itself where it does not pay."""
    if len(raw) < SMALLEST_BYTES or not _pays(raw):
        return NONE, raw
    packed = zstd.compress(raw, LEVEL)
    return (ZSTD, packed) if len(packed) < len(raw) * WORTHWHILE else (NONE, raw)


def _pays(raw: bytes) -> bool:
    if len(raw) <= 4 * SAMPLE_BYTES:
        return True
    sample = b"".join(_slices(raw))
    return len(zstd.compress(sample, LEVEL)) < len(sample) * WORTHWHILE


def _slices(raw: bytes) -> Iterator[memoryview]:
    view = memoryview(raw)
    for start in (0, len(raw) // 2, len(raw) - SAMPLE_BYTES):
        yield view[start : start + SAMPLE_BYTES]


def expand(name: str, data: bytes, expanded_bytes: int) -> bytes:
    """Undo ``compress``, producing exactly ``expanded_bytes``; stops at the first byte beyond.

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


def _expand_zstd(data: bytes, expanded_bytes: int) -> tuple[bytes, bool]:
    decompressor = zstd.ZstdDecompressor()
    try:
        # One byte more than promised shows whether the data goes on.
        expanded = decompressor.decompress(data, max_length=expanded_bytes + 1)
    except zstd.ZstdError as exc:
        raise PayloadCorruptError(f"payload corrupt: zstd cannot read it: {exc}") from exc
    return expanded, decompressor.eof and not decompressor.unused_data

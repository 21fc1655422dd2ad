"""Which compression level, and what the sample saves on what does not compress."""

import random
from collections.abc import Iterator

from benchmarks.measure import MEGABYTE, markdown, milliseconds, records
from pipeline.claimcheck import compression
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.compression import zstd
from pipeline.serializer.serializer import KOMBU_TYPES


def rows() -> Iterator[tuple[str, ...]]:
    packed = Codec(KOMBU_TYPES).encode(records(35_000, typed=True))[1]
    noise = random.Random(1).randbytes(50 * MEGABYTE)
    for label, raw in (("8 MB of records", packed), ("50 MB of noise", noise)):
        for level in (1, 3, 9):
            small = zstd.compress(raw, level)
            out = milliseconds(lambda raw=raw, level=level: zstd.compress(raw, level))  # type: ignore[misc]
            back = milliseconds(lambda small=small: zstd.decompress(small))  # type: ignore[misc]
            yield _row(label, f"zstd {level}", raw, len(small), out, back)
        name, small = compression.compress(raw)
        out = milliseconds(lambda raw=raw: compression.compress(raw))  # type: ignore[misc]
        back = milliseconds(lambda name=name, small=small, raw=raw: compression.expand(name, small, len(raw)))  # type: ignore[misc]
        yield _row(label, f"ours ({name})", raw, len(small), out, back)


def _row(label: str, name: str, raw: bytes, size: int, out: float, back: float) -> tuple[str, ...]:
    speed = [f"{len(raw) / MEGABYTE / time * 1_000:,.0f}" for time in (out, back)]
    return (label, name, f"{len(raw) / size:.2f}", *speed)


def table() -> str:
    return markdown(("input", "compression", "ratio", "MB/s in", "MB/s out"), rows())

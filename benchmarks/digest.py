"""Which digest: one thread, 64 MB."""

import hashlib
import random
from collections.abc import Iterator

from blake3 import blake3

from benchmarks.measure import MEGABYTE, markdown, milliseconds

SIZE = 64 * MEGABYTE


def rows() -> Iterator[tuple[str, ...]]:
    data = random.Random(1).randbytes(SIZE)
    for name, digest in (("BLAKE3", blake3), ("SHA-256", hashlib.sha256), ("SHA-1", hashlib.sha1)):
        time = milliseconds(lambda digest=digest: digest(data).digest())  # type: ignore[misc]
        yield name, f"{SIZE / MEGABYTE / time:.1f}"


def table() -> str:
    return markdown(("digest", "GB/s"), rows())

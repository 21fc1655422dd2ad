"""Memory for payloads. That of a large one is given back piece by piece, while what is in it is being read.

So a step that reads one large buffer and fills another, such as decompression, has both of them never whole.
"""

import mmap
from collections.abc import Iterator
from contextlib import suppress

from pipeline.stores.protocol import FillingStore, Store

PAGED_BYTES = 4 * 1024**2
"""A smaller buffer comes from Python's own memory: that has pages already, and a mapping needs new ones."""

PIECE_BYTES = 256 * 1024
"""How much is read between two steps of giving back."""

Bytes = bytes | memoryview


def read_whole(store: Store, key: str, size_bytes: int) -> Bytes:
    """Return an object's bytes, in memory that can be given back if they are many and the store can fill it.

    Raises:
        PayloadMissingError, PayloadCorruptError, StoreDeniedError, StoreUnavailableError: from the store.
    """
    if size_bytes < PAGED_BYTES or not isinstance(store, FillingStore):
        return store.get(key, size_bytes)
    data = allocated(size_bytes)
    store.get_into(key, data)
    return data


def allocated(size_bytes: int) -> memoryview:
    """Return memory full of zeros; where it is large, pages that nobody has written to take none."""
    if size_bytes < PAGED_BYTES or not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return memoryview(bytearray(size_bytes))
    pages = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # a third less CPU time than with small pages
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(pages)


def is_paged(data: Bytes) -> bool:
    """Say whether ``give_back`` has an effect."""
    return isinstance(data, memoryview) and isinstance(data.obj, mmap.mmap)


def give_back(data: Bytes, stop: int) -> None:
    """Let the pages of all bytes before ``stop`` be free. Nobody may read those bytes again.

    Args:
        data: what ``allocated`` returned, the whole of it; nothing happens to memory of another kind.
        stop: position in it.
    """
    if isinstance(data, memoryview) and isinstance(data.obj, mmap.mmap):
        with suppress(OSError):  # pages that are locked in memory
            data.obj.madvise(mmap.MADV_DONTNEED, 0, stop - stop % mmap.PAGESIZE)


def consumed(data: Bytes, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
    """Yield the pieces of a buffer from ``start`` to ``stop``, and give back what is before each."""
    view, stop = memoryview(data), len(data) if stop is None else stop
    for at in range(start, stop, PIECE_BYTES):
        give_back(data, at)
        yield view[at : min(at + PIECE_BYTES, stop)]
    give_back(data, stop)

"""A handle's payload as a local file: continued where an earlier attempt broke off, and checked."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path

from blake3 import blake3

from pipeline.claimcheck.handles.source import Source
from pipeline.errors import PayloadCorruptError
from pipeline.metrics.table import REHYDRATE_SECONDS

READ_BYTES = 1024**2
"""Bytes of one read of what an earlier attempt has left."""

Progress = Callable[[int, int], None]


def download(source: Source, path: Path, progress: Progress | None = None) -> Path:
    """See ``Handle.download``."""
    source.check_plain()
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    partial = path.with_name(f".{path.name}.{_tag(source)}.part")
    with _locked(partial) as file, source.observed():
        try:
            with source.claimcheck.timed(REHYDRATE_SECONDS):
                _complete(source, file, progress or _silent)
        except PayloadCorruptError:
            partial.unlink()
            raise
        partial.replace(path)
    return path


def _complete(source: Source, file: BufferedRandom, progress: Progress) -> None:
    """Append what is missing. What an earlier attempt left, and is wrong, is read again: power may fail."""
    is_continued = bool(os.fstat(file.fileno()).st_size)
    digest = _append(source, file, progress)
    if is_continued and not (source.matches(digest) and file.tell() == source.size_bytes):
        file.truncate(0)
        file.seek(0)
        digest = _append(source, file, progress)
    file.flush()
    source.check(digest)


def _append(source: Source, file: BufferedRandom, progress: Progress) -> blake3:
    """Write the bytes beyond those that the file has, and return the digest of all."""
    digest = blake3()
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
    for chunk in source.in_order(file.tell()):
        file.write(chunk)
        digest.update(chunk)
        progress(file.tell(), source.size_bytes)
    return digest


def _tag(source: Source) -> str:
    """Return a name for the content, so that no file is continued with another one's bytes."""
    handle = source.handle
    return blake3(repr((handle.store, handle.key, handle.etag, handle.version)).encode()).hexdigest(length=8)


@contextmanager
def _locked(partial: Path) -> Iterator[BufferedRandom]:
    """Open a partial file that no other download writes to; another one of the same file is waited for."""
    import fcntl  # noqa: PLC0415 - Windows lacks it; producers there do not download

    while True:
        with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, partial):
                yield file
                return


def _is_at(file: BufferedRandom, path: Path) -> bool:
    """Say whether a file is still at its path: another download may have completed and moved it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _silent(_: int, __: int) -> None:
    pass

"""Records as files: changed under one lock per directory, and replaced atomically.

The lock is the operating system's (``flock``): it ends with its process, and is locked for one small file
operation at a time. It works between processes of one machine, and over NFS on Linux.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from pipeline.stores.file.private_files import make_directory, write_file


@dataclass(frozen=True, slots=True)
class FileRecords:
    """The records of a directory. Safe to share between threads and after a fork.

    Args:
        incoming: directory of files that are being written, and of the lock.
        path_of: returns the path of a key.
        translated: maps OSError to the library's errors; takes the key.
    """

    incoming: Path
    path_of: Callable[[str], Path]
    translated: Callable[[str], AbstractContextManager[None]]

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a record's content and its digest, or None if there is none.

        Raises:
            StoreDeniedError, StoreUnavailableError: the file system denied access, or failed.
        """
        with self.translated(key):
            return _read(self.path_of(key))

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Write a record conditionally, and return its new digest; None if the condition failed.

        Raises:
            StoreDeniedError, StoreUnavailableError: the file system denied access, is full, or failed.
        """
        with self.translated(key), self._locked():
            path = self.path_of(key)
            if not _has(path, tag):
                return None
            written = self.incoming / secrets.token_hex(16)
            try:
                write_file(written, content)
                make_directory(path.parent)
                written.replace(path)
            finally:
                written.unlink(missing_ok=True)
        return _digest(content)

    def remove(self, key: str, tag: str) -> bool:
        """Delete a record conditionally, and return whether the condition was met.

        Raises:
            StoreDeniedError, StoreUnavailableError: the file system denied access, or failed.
        """
        with self.translated(key), self._locked():
            path = self.path_of(key)
            is_ours = _has(path, tag)
            if is_ours:
                path.unlink()
        return is_ours

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_directory(self.incoming)
        # A new descriptor for each use, so that threads exclude each other as processes do.
        lock = os.open(self.incoming / "once.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _read(path: Path) -> tuple[bytes, str] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return content, _digest(content)


def _has(path: Path, tag: str | None) -> bool:
    found = _read(path)
    return (found and found[1]) == tag


def _digest(content: bytes) -> str:
    return str(blake3(content).hexdigest())

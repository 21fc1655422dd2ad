"""Payloads as files below one directory: for one machine, or several that share a file system."""

import errno
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)
from pipeline.stores.file.private_files import make_directory, write_file
from pipeline.stores.protocol import StoredObject

if TYPE_CHECKING:
    from pipeline.stores.file.records import FileRecords

INCOMING = ".incoming"
"""Directory of files that are being written. What a killed process leaves there is in nobody's way."""

_DENIED = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
        errno.EXDEV,
    }
)
"""Errors that a retry does not fix. All others (ENOSPC, EIO, EMFILE, ESTALE, …) are transient."""


@dataclass(frozen=True, slots=True)
class FileStore:
    """A store in a directory, which is made if need be. Safe to share between threads and after a fork.

    A payload appears whole or not at all: it is written to a file of its own, which is then linked
    to its key, and a link never replaces what is there. The file system must know hard links. Nothing
    is flushed to the disk, so a power cut may take the last payloads. Metadata is dropped: no verb
    gives it back, and a second file for each payload could get lost by itself. What is made here is its
    owner's alone (files 0600, directories 0700): producers and workers run as one user.

    Args:
        directory: where payloads lie; keys are paths below it, and none can lead out of it.
        prefix: where our keys begin; slashes at its ends are dropped.
    """

    directory: Path
    prefix: str = ""
    _root: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", Path(self.directory))
        object.__setattr__(self, "prefix", self.prefix.strip("/"))
        object.__setattr__(self, "_root", os.path.realpath(self.directory))

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:  # noqa: ARG002
        """Store a payload under a new key. Safe to call twice with the same payload.

        Raises:
            StoreDeniedError: the key holds another payload or leads out, or the file system denies access.
            StoreUnavailableError: the disk is full, or broken.
        """
        with _translated(key):
            path, incoming = self._path(key), Path(self._root, INCOMING, secrets.token_hex(16))
            make_directory(incoming.parent)
            try:
                write_file(incoming, payload)
                make_directory(path.parent)
                path.hardlink_to(incoming)
            except FileExistsError:
                _accept_if_same(path, key, payload)
            finally:
                incoming.unlink(missing_ok=True)

    def get(self, key: str, size_bytes: int) -> bytes:
        """Return the payload under a key. Memory: the payload once.

        Raises:
            PayloadMissingError: there is none.
            PayloadCorruptError: it has another size; checked before it is read.
            StoreDeniedError: the key leads out, or the file system denies access.
            StoreUnavailableError: the disk is broken.
        """
        with _translated(key):
            try:
                return _read(self._path(key), key, size_bytes)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
                raise PayloadMissingError(
                    f"payload missing [key={key}]: released, expired, or never written to this directory"
                ) from exc

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete payloads, and return the keys of those that the file system would not delete, each with why.

        Safe to call twice: a key that is gone counts as deleted. Directories stay.
        """
        return {key: why for key in keys if (why := self._delete(key)) is not None}

    def _delete(self, key: str) -> StoreError | None:
        try:
            with _translated(key):
                self._path(key).unlink(missing_ok=True)
        except StoreError as exc:
            is_none_of_ours = isinstance(exc.__cause__, IsADirectoryError | NotADirectoryError)
            return None if is_none_of_ours else exc
        return None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield objects whose key, after the store's own prefix, begins with ``prefix``, in key order.

        Raises:
            StoreDeniedError: a directory may not be read.
            StoreUnavailableError: the disk is broken.
        """
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        with _translated(f"{full}*"):
            yield from _walk(self._root, "", full)

    def records(self) -> "FileRecords":
        """Return what ``@idempotent`` writes down here. Does no I/O."""
        # It needs locks that Windows lacks, and producers there do without.
        from pipeline.stores.file.records import FileRecords  # noqa: PLC0415

        return FileRecords(Path(self._root, INCOMING), self._path, _translated)

    def _path(self, key: str) -> Path:
        """Return where a key's file is, below our directory also when somebody left a link there."""
        path = f"{self._root}/{key}"
        outside = "\0" in key or os.path.realpath(path) != path
        if outside or key.split("/", maxsplit=1)[0] == INCOMING:
            raise StoreDeniedError(
                f"store refuses this key [key={key[:120]!r}]: it is no path below "
                f"{self._root}; use keys of our making"
            )
        return Path(path)


def _read(path: Path, key: str, size_bytes: int) -> bytes:
    with path.open("rb") as file:
        actual = os.fstat(file.fileno()).st_size
        payload = file.read(size_bytes) if actual == size_bytes else None
    if payload is None or len(payload) != size_bytes:
        raise PayloadCorruptError(
            f"payload corrupt [key={key}]: the file has {actual} bytes, and the claim says {size_bytes}; "
            "somebody else wrote it, or the claim was forged"
        )
    return payload


def _accept_if_same(path: Path, key: str, payload: bytes) -> None:
    if not path.is_file() or path.stat().st_size != len(payload) or path.read_bytes() != payload:
        raise StoreDeniedError(
            f"store refuses to overwrite [key={key}]: the key holds another payload; make a new key for each"
        )


def _walk(directory: str, above: str, prefix: str) -> Iterator[StoredObject]:
    """Walk in the order of the full keys, where ``a-`` comes before ``a/b``, past what cannot match."""
    for name in sorted(_names(directory)):
        key = above + name
        if name.endswith("/") and (key.startswith(prefix) or prefix.startswith(key)):
            yield from _walk(f"{directory}/{name[:-1]}", key, prefix)
        elif not name.endswith("/") and key.startswith(prefix):
            yield from _stored(f"{directory}/{name}", key)


def _names(directory: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and entry.name != INCOMING:
                    yield f"{entry.name}/"
                elif entry.is_file(follow_symlinks=False):
                    yield entry.name
    except FileNotFoundError:
        return


def _stored(path: str, key: str) -> Iterator[StoredObject]:
    try:
        status = Path(path).stat()
    except FileNotFoundError:  # deleted since it was seen
        return
    yield StoredObject(key, status.st_size, _modified(status.st_mtime))


def _modified(seconds: float) -> datetime:
    """Return a file's time, which anybody may set, within the years that ``datetime`` knows."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=UTC) if seconds > 0 else datetime.min.replace(tzinfo=UTC)


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        denied = exc.errno in _DENIED
        error = StoreDeniedError if denied else StoreUnavailableError
        fact = "store denies access" if denied else "store unavailable"
        remedy = "check the directory and its permissions" if denied else "free space, or try again later"
        raise error(f"{fact} [key={key}]: {exc.strerror} ({exc.filename}); {remedy}") from exc

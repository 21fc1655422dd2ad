"""Payloads as files below one directory, for one machine or a shared file system."""

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
from pipeline.stores.file.uploads import FileUpload, tag
from pipeline.stores.protocol import StoredObject
from pipeline.stores.ranges import Head

if TYPE_CHECKING:
    from pipeline.stores.file.records import FileRecords

INCOMING = ".incoming"
"""Directory of files that are being written. Files that a killed process leaves there do no harm."""

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
    """A store in a directory, which is created if need be. Safe to share between threads and after a fork.

    A payload is written atomically: to a temporary file, which is then linked to its key; a link never
    replaces a file. The file system must support hard links. Files are not synced to disk, so a power
    failure may lose the last payloads. Metadata is not stored: no method returns it. Only the owner can read
    the files (0600) and directories (0700), so producers and workers must run as one user.

    Args:
        directory: the directory; keys are paths below it and cannot lead out of it.
        prefix: first part of all keys; slashes at its ends are dropped.
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
            StoreDeniedError: another payload has the key, the key leads out, or the file system denied
            access. StoreUnavailableError: the disk is full, or failed.
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
            StoreDeniedError: the key leads out, or the file system denied access.
            StoreUnavailableError: the disk failed.
        """
        with _translated(key):
            try:
                return _read(self._path(key), key, size_bytes)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
                raise _missing(key) from exc

    def get_range(
        self, key: str, start: int, stop: int, *, etag: str | None = None, version: str | None = None
    ) -> bytes:
        """Return the bytes of a payload from ``start`` up to ``stop``, not included.

        Raises:
            PayloadMissingError: there is no such payload, or no such version: there are none.
            PayloadCorruptError: it has another tag, or ends before ``stop``.
            StoreDeniedError, StoreUnavailableError: the file system denied access, or failed.
        """
        with self._opened(key, version) as file:
            found = os.pread(file, stop - start, start)
            if etag not in {None, tag(os.fstat(file))} or len(found) != stop - start:
                raise PayloadCorruptError(
                    f"payload corrupt [key={key}]: expected {stop} bytes or more, and the same file as "
                    "before; another writer changed it"
                )
        return found

    def head(self, key: str, version: str | None = None) -> Head:
        """Return what is known of a payload, without its content.

        Raises:
            PayloadMissingError: there is no such payload, or no such version: there are none.
            StoreDeniedError, StoreUnavailableError: the file system denied access, or failed.
        """
        with self._opened(key, version) as file:
            status = os.fstat(file)
        return Head(status.st_size, tag(status), None, _modified(status.st_mtime))

    def upload(
        self,
        key: str,
        metadata: Mapping[str, str],  # noqa: ARG002
        media_type: str | None = None,  # noqa: ARG002
    ) -> "FileUpload":
        """Return an upload to a new key. Does no I/O."""
        return FileUpload(self._path, Path(self._root, INCOMING, secrets.token_hex(16)), key, _translated)

    def url(self, key: str, expires_seconds: int, **_: object) -> str:  # noqa: ARG002
        """Raise: the URL of a file would never expire.

        Raises:
            StoreDeniedError: always.
        """
        raise StoreDeniedError(
            f"no URL [key={key}]: a file:// store has none that expires; use an s3:// store"
        )

    @contextmanager
    def _opened(self, key: str, version: str | None) -> Iterator[int]:
        """Open a payload, and yield its file descriptor."""
        with _translated(key):
            if version is not None:
                raise _missing(key)
            try:
                file = os.open(self._path(key), os.O_RDONLY)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
                raise _missing(key) from exc
            try:
                yield file
            finally:
                os.close(file)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete payloads, and return the error of each key that was not deleted.

        Safe to call twice: a missing key counts as deleted. Directories stay.
        """
        return {key: why for key in keys if (why := self._delete(key)) is not None}

    def _delete(self, key: str) -> StoreError | None:
        try:
            with _translated(key):
                self._path(key).unlink(missing_ok=True)
        except StoreError as exc:
            is_missing = isinstance(exc.__cause__, IsADirectoryError | NotADirectoryError)
            return None if is_missing else exc
        return None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield objects whose key, after the store's own prefix, begins with ``prefix``, in key order.

        Raises:
            StoreDeniedError: the file system denied access to a directory.
            StoreUnavailableError: the disk failed.
        """
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        with _translated(f"{full}*"):
            yield from _walk(self._root, "", full)

    def records(self) -> "FileRecords":
        """Return the records of ``@idempotent``. Does no I/O."""
        # They need locks that Windows lacks; producers on Windows do not use records.
        from pipeline.stores.file.records import FileRecords  # noqa: PLC0415

        return FileRecords(Path(self._root, INCOMING), self._path, _translated)

    def _path(self, key: str) -> Path:
        """Return the path of a key, which symbolic links cannot lead out of the directory."""
        path = f"{self._root}/{key}"
        outside = "\0" in key or os.path.realpath(path) != path
        if outside or key.split("/", maxsplit=1)[0] == INCOMING:
            raise StoreDeniedError(
                f"store rejected this key [key={key[:120]!r}]: it is not a path below "
                f"{self._root}; use a key of this library"
            )
        return Path(path)


def _missing(key: str) -> PayloadMissingError:
    return PayloadMissingError(
        f"payload missing [key={key}]: released, expired, or never written to this directory"
    )


def _read(path: Path, key: str, size_bytes: int) -> bytes:
    with path.open("rb") as file:
        actual = os.fstat(file.fileno()).st_size
        payload = file.read(size_bytes) if actual == size_bytes else None
    if payload is None or len(payload) != size_bytes:
        raise PayloadCorruptError(
            f"payload corrupt [key={key}]: size {actual} bytes, claimed {size_bytes}; "
            "another writer changed it, or the claim was forged"
        )
    return payload


def _accept_if_same(path: Path, key: str, payload: bytes) -> None:
    if not path.is_file() or path.stat().st_size != len(payload) or path.read_bytes() != payload:
        raise StoreDeniedError(
            f"store does not overwrite [key={key}]: another payload has this key; use a new one"
        )


def _walk(directory: str, above: str, prefix: str) -> Iterator[StoredObject]:
    """Walk in the order of the full keys, where ``a-`` is before ``a/b``; skip what cannot match."""
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
    except FileNotFoundError:  # deleted since it was listed
        return
    yield StoredObject(key, status.st_size, _modified(status.st_mtime))


def _modified(seconds: float) -> datetime:
    """Return a file's time within the years of ``datetime``: any time can be set on a file."""
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

"""Payloads that one worker has read ahead: files, each for one attempt, which removes it as it takes it.

A process of the worker writes them (``worker/read_ahead``) while their messages wait for a free process of
the pool. A file is only a copy: an attempt that finds none, or one whose digest is wrong, reads the store.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from shutil import rmtree
from threading import Lock

from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.memory import Bytes

PREFIX = "claimcheck-spool-"
PART = ".part"
MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of this user alone is made in it
"""Where a Linux keeps files in memory."""
KEEP_SECONDS = 600.0
"""How long a file waits for its attempt: one that was revoked never comes."""
WAIT_SECONDS = 1.0
"""How long an attempt waits for a file that is being written before it reads the store."""
LOOK_SECONDS = 0.001
NEW_SECONDS = 5.0
"""For so long a directory may have no lock yet."""


class Spool:
    """The files of one worker. Its main process opens it before the pool has children, which inherit it."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._held: int | None = None
        self._lock = Lock()

    @property
    def directory(self) -> Path | None:
        """Where the files are; ``None`` if the worker reads nothing ahead."""
        return self._directory

    def open(self, parent: str | None = None) -> Path:
        """Make the directory, for this user alone, and remove those of workers that have been killed.

        Args:
            parent: where to make it; by default in memory, or among the system's temporary files.

        Raises:
            OSError: it cannot be made.
        """
        where = Path(parent) if parent else _default_parent()
        _remove_orphans(where)
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
        self._held = _locked(self._directory)
        return self._directory

    def join(self, directory: Path | None) -> None:
        """Take from a directory that the main process has opened; run in a spawned child."""
        self._directory = directory

    def close(self) -> None:
        """Remove the directory. Safe to call twice, and in any process of the worker."""
        directory, self._directory = self._directory, None
        held, self._held = self._held, None
        if directory is not None:
            rmtree(directory, ignore_errors=True)
        if held is not None:
            os.close(held)

    # In the process that reads ahead

    def put(self, claim: Claim, read: Callable[[], Bytes], limit_bytes: int) -> bool:
        """Write a payload, unless it is here or all files together would be above the limit. Never raises.

        Args:
            claim: of the payload.
            read: reads it from the store.
            limit_bytes: most bytes of all files.

        Returns:
            Whether an attempt can take it now.
        """
        if self._directory is None:
            return False
        part = self._path(claim, PART)
        try:
            file = self._reserved(part, claim, limit_bytes)
        except OSError:  # no space left, or another thread writes it
            return False
        if file is None:
            return False
        try:
            with os.fdopen(file, "wb") as writer:
                writer.write(read())
            part.replace(self._path(claim))
        except Exception:  # noqa: BLE001 - the attempt reads the store, and reports what is wrong
            part.unlink(missing_ok=True)
            return False
        return True

    def _reserved(self, part: Path, claim: Claim, limit_bytes: int) -> int | None:
        """Return a new file, which has the payload's size from now on; ``None`` if there must be none."""
        with self._lock:
            used = sum(size for _, size, _ in self._files())
            if self._path(claim).exists() or used + claim.size_bytes > limit_bytes:
                return None
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.truncate(file, claim.size_bytes)
            return file

    def expire(self, now: float | None = None) -> None:
        """Remove files that no attempt has taken for long."""
        now = time.time() if now is None else now
        for path, _, written in self._files():
            if now - written > KEEP_SECONDS:
                Path(path).unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[str, int, float]]:
        """Yield path, bytes and time of each file."""
        with suppress(OSError), os.scandir(self._directory or "") as files:
            for each in files:
                with suppress(FileNotFoundError):  # it has just been taken
                    found = each.stat()
                    yield each.path, found.st_size, found.st_mtime

    # In the process that runs the task

    def take(self, claim: Claim) -> bytes | None:
        """Return the bytes of a payload that was read ahead, once; ``None`` if it was not."""
        if self._directory is None:
            return None
        path, part, end = self._path(claim), self._path(claim, PART), time.monotonic() + WAIT_SECONDS
        while True:
            is_coming = part.exists()  # looked at first: it becomes the file
            with suppress(OSError), path.open("rb") as file:
                path.unlink(missing_ok=True)
                return file.read()
            if not is_coming or time.monotonic() > end:
                return None
            time.sleep(LOOK_SECONDS)

    def _path(self, claim: Claim, suffix: str = "") -> Path:
        name = blake2b(f"{claim.key} {claim.offset}".encode(), digest_size=16).hexdigest()
        return Path(self._directory or "", name + suffix)


def _default_parent() -> Path:
    return MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def _remove_orphans(parent: Path) -> None:
    """Remove the directories of workers whose processes have all ended without doing so."""
    for each in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or gone
            if time.time() - each.stat().st_mtime > NEW_SECONDS and (held := _locked(each)) is not None:
                rmtree(each, ignore_errors=True)
                os.close(held)


def _locked(directory: Path) -> int | None:
    """Lock a directory until the last process that has the file descriptor ends; ``None`` if it has a lock.

    Not the id of a process: containers that share a directory have ids of their own. Source: flock(2).
    """
    held = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held


spool = Spool()
"""That of this process. A forked child inherits it."""

"""How a file is written in parts: to a temporary file, which is then linked to its key."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StoreDeniedError
from pipeline.stores.file.private_files import make_directory


@dataclass(frozen=True, slots=True)
class FileUpload:
    """One file on its way into a directory. Safe to share between threads.

    Args:
        path_of: returns the path of a key.
        incoming: where it is written to.
        key: full key.
        translated: maps OSError to the library's errors; takes the key.
    """

    path_of: Callable[[str], Path]
    incoming: Path
    key: str
    translated: Callable[[str], AbstractContextManager[None]]

    def part(self, number: int, start: int, data: bytes) -> None:  # noqa: ARG002 - a file has positions
        """Write a part.

        Raises:
            StoreDeniedError, StoreUnavailableError: the file system denied access, is full, or failed.
        """
        with self.translated(self.key):
            make_directory(self.incoming.parent)
            file = os.open(self.incoming, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                written = 0
                while written < len(data):
                    written += os.pwrite(file, memoryview(data)[written:], start + written)
            finally:
                os.close(file)

    def complete(self) -> str:
        """Link the file to its key, and return its tag.

        Raises:
            StoreDeniedError: another payload has the key, or the file system denied access.
            StoreUnavailableError: the disk is full, or failed.
        """
        with self.translated(self.key):
            path = self.path_of(self.key)
            make_directory(path.parent)
            try:
                path.hardlink_to(self.incoming)
            except FileExistsError as exc:
                if not path.samefile(self.incoming):
                    raise StoreDeniedError(
                        f"store does not overwrite [key={self.key}]: another payload has this key; "
                        "use a new one"
                    ) from exc
            self.incoming.unlink(missing_ok=True)
            return tag(path.stat())

    def whole(self, data: bytes) -> str:
        """Store a file that has one part, and return its tag.

        Raises:
            StoreDeniedError: another payload has the key, or the file system denied access.
            StoreUnavailableError: the disk is full, or failed.
        """
        self.part(1, 0, data)
        return self.complete()

    def abort(self) -> None:
        """Remove what was written. Never fails."""
        with suppress(OSError):
            self.incoming.unlink(missing_ok=True)


def tag(status: os.stat_result) -> str:
    """Return what identifies the content of a file that nobody changes in place."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"

"""Creates files (0600) and directories (0700) that only their owner can read."""

import os
from pathlib import Path


def make_directory(directory: Path) -> None:
    """Create a directory and its missing parents, for this user only (0700).

    An existing directory keeps its mode.
    """
    try:
        directory.mkdir(0o700, exist_ok=True)
    except FileNotFoundError:
        make_directory(directory.parent)
        directory.mkdir(0o700, exist_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a new file that only this user can read (0600), whatever the umask.

    Raises:
        FileExistsError: the file exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)

"""Files and directories that only their owner may look into: payloads are nobody else's."""

import os
from pathlib import Path


def make_directory(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for this user alone (0700).

    A directory that is there keeps its mode: whoever made it has chosen.
    """
    try:
        directory.mkdir(0o700, exist_ok=True)
    except FileNotFoundError:
        make_directory(directory.parent)
        directory.mkdir(0o700, exist_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a new file that this user alone may read (0600), whatever the umask allows.

    Raises:
        FileExistsError: there is one.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)

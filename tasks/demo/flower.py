"""Flower beside the demo's workers, behind a password of its own."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.local import free_port
from tasks.demo.processes import beside


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Run Flower for the length of a ``with`` block, and yield where it is, with user and password.

    They are no part of the address: in a page that has them in its URL, a browser lets no button work.

    Args:
        directory: where its log goes.
    """
    port, password = free_port(), secrets.token_urlsafe(9)
    command = [sys.executable, "-m", "pipeline", "-A", "tasks.app", "flower"]
    command += [f"--port={port}", "--address=127.0.0.1"]
    with beside(command, directory / "flower.log", {"FLOWER_BASIC_AUTH": f"flower:{password}"}):
        yield f"http://127.0.0.1:{port} (user flower, password {password})"

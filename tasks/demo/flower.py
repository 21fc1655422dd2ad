"""Flower beside the demo's workers, behind a password of its own."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.local import free_port
from tasks.demo.processes import beside

USER = "flower"


@dataclass(frozen=True, slots=True)
class Flower:
    """Where Flower is. The password is no part of the address: no button works in a page with it."""

    url: str
    password: str

    def __str__(self) -> str:
        return f"{self.url} (user {USER}, password {self.password})"


@contextmanager
def running(directory: Path) -> Iterator[Flower]:
    """Run Flower for the length of a ``with`` block, and yield where it is.

    Args:
        directory: where its log goes.
    """
    port, password = free_port(), secrets.token_urlsafe(9)
    command = [sys.executable, "-m", "pipeline", "-A", "tasks.app", "flower"]
    command += [f"--port={port}", "--address=127.0.0.1"]
    with beside(command, directory / "flower.log", {"FLOWER_BASIC_AUTH": f"{USER}:{password}"}):
        yield Flower(f"http://127.0.0.1:{port}", password)

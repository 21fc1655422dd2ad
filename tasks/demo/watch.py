"""Flower beside the demo's workers, behind a password of its own."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.local import free_port
from tasks.demo.system import FAREWELL_SECONDS, ROOT, uninterrupted


@contextmanager
def flower(directory: Path) -> Iterator[str]:
    """Run Flower for the length of a ``with`` block, and yield its address with user and password.

    Args:
        directory: where its log goes.
    """
    port, login = free_port(), f"flower:{secrets.token_urlsafe(9)}"
    command = [sys.executable, "-m", "pipeline", "-A", "tasks.app", "flower"]
    command += [f"--port={port}", "--address=127.0.0.1"]
    with (directory / "flower.log").open("wb") as log, uninterrupted():
        process = subprocess.Popen(  # noqa: S603 - our own words
            command,
            cwd=ROOT,
            env=os.environ | {"FLOWER_BASIC_AUTH": login},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield f"http://{login}@127.0.0.1:{port}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(FAREWELL_SECONDS)
        process.kill()
        process.wait()

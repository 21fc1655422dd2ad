"""The gateway of the demo: uvicorn in a process of its own."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from time import monotonic, sleep

from pipeline.local import free_port
from tasks.demo.processes import READY_SECONDS, DemoError, beside


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Run the gateway for the length of a ``with`` block, and yield its address.

    Args:
        directory: where its log goes.

    Raises:
        DemoError: it has ended, or took too long to start.
    """
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "tasks.uploads:gateway"]
    command += [f"--port={port}", "--host=127.0.0.1", "--log-level=warning"]
    url = f"http://127.0.0.1:{port}"
    with beside(command, directory / "gateway.log") as process:
        _wait(process, url)
        yield url


def _wait(process: "Popen[bytes]", url: str) -> None:
    deadline = monotonic() + READY_SECONDS
    while not _answers(url):
        if process.poll() is not None:
            raise DemoError(f"the gateway ended with code {process.returncode}")
        if monotonic() > deadline:
            raise DemoError(f"the gateway was not ready after {READY_SECONDS:.0f} s")
        sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own process
            return True
    except OSError:
        return False

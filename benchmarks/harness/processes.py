"""The producer and the workers of a cell: child processes, ended by their ids."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import psutil

from benchmarks.memory import peak_bytes, reset_peak, resident_bytes
from benchmarks.peers.settings import Settings
from benchmarks.peers.standins import ROOT


class Usage(NamedTuple):
    """Of a worker's main process, and of its children: CPU seconds of all, and memory of the largest."""

    main: float
    child: float


class Process:
    """A Python module as a process group, for the length of a ``with`` block."""

    stdout: ClassVar[int] = subprocess.DEVNULL

    def __init__(self, module: str, settings: Settings, log: Path) -> None:
        self._log = log
        self.environment = {**os.environ, **settings.variables()}
        with log.open("ab") as file:
            self._process = subprocess.Popen(  # noqa: S603 - a fixed command
                [sys.executable, "-m", module],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=self.stdout,
                stderr=file,
                text=True,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self._process.communicate()

    def signal(self, number: int) -> None:
        """Send a signal to the process and its children."""
        os.killpg(self.pid, number)

    def check(self) -> None:
        """Raise a RuntimeError with the end of its log if it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"a process ended with {self._process.returncode}: {self.log()}")

    def log(self) -> str:
        """Return the end of what it wrote to stderr."""
        return self._log.read_text(errors="replace")[-2_000:]


class Producer(Process):
    """Publishes on order."""

    stdout = subprocess.PIPE

    def __init__(self, settings: Settings, log: Path) -> None:
        super().__init__("benchmarks.peers.producer", settings, log)

    def ready(self) -> None:
        """Wait until it has warmed up."""
        self._line()

    def publish(self, count: int, every_seconds: float | None) -> Mapping[str, Any]:
        """Let it publish, and return its figures."""
        order = {"count": count, "every_seconds": every_seconds}
        assert self._process.stdin
        print(json.dumps(order), file=self._process.stdin, flush=True)
        figures: Mapping[str, Any] = json.loads(self._line())
        return figures

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self.check()
        return line


class Worker(Process):
    """A worker with its children."""

    def __init__(self, settings: Settings, log: Path) -> None:
        super().__init__("benchmarks.peers.consumer", settings, log)

    def begin(self) -> None:
        """Measure from now on."""
        self._cpu_then = self._cpu()
        self._resident = {pid: resident_bytes(pid) for pid in self._family()}
        for pid in self._family():
            reset_peak(pid)

    def cpu_seconds(self) -> Usage:
        """Return the CPU time since :meth:`begin`."""
        now = self._cpu()
        return Usage(now.main - self._cpu_then.main, now.child - self._cpu_then.child)

    def grown_bytes(self) -> Usage:
        """Return the peak of resident memory above that at :meth:`begin`."""
        grown = {pid: peak_bytes(pid) - before for pid, before in self._resident.items()}
        return Usage(grown.pop(self.pid), max(grown.values(), default=0))

    def peak_bytes(self) -> Usage:
        """Return the peak of resident memory since :meth:`begin`."""
        peaks = {pid: peak_bytes(pid) for pid in self._resident}
        return Usage(peaks.pop(self.pid), max(peaks.values(), default=0))

    def _family(self) -> list[int]:
        return [self.pid, *(each.pid for each in psutil.Process(self.pid).children(recursive=True))]

    def _cpu(self) -> Usage:
        seconds = [sum(psutil.Process(pid).cpu_times()[:2]) for pid in self._family()]
        return Usage(seconds[0], sum(seconds[1:]))


def await_condition(condition: Callable[[], object], seconds: float, *processes: Process) -> bool:
    """Return whether a condition holds in time; raise a RuntimeError if a process ends meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        for each in processes:
            each.check()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True

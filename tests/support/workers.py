"""Real Celery workers for tests, started as processes and ended by pid."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

SUPPORT = Path(__file__).parent
APPS = SUPPORT.parent / "apps"


def eventually(condition, seconds=30, message=""):
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(message or f"not within {seconds} s: {condition}")
        time.sleep(0.05)
    return value


class Worker:
    """One ``celery worker`` process and its children."""

    def __init__(self, environment, log, pool="prefork", concurrency=2, app="sample_app", options=()):
        self.log = log
        command = [sys.executable, str(SUPPORT / "bare_worker.py"), app, "-P", pool, "-c", str(concurrency)]
        with log.open("ab") as file:  # the process has it from now on
            self.process = subprocess.Popen(
                [*command, "-l", "INFO", "--without-gossip", "--without-mingle", *options],
                cwd=APPS,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self):
        return self.process.pid

    def text(self):
        return self.log.read_text(errors="replace")

    def ready(self):
        """Wait until the worker consumes."""
        eventually(self._is_ready, 60, "the worker did not start")
        return self

    def _is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the worker ended with {self.process.returncode}:\n{self.text()[-4000:]}")
        return " ready." in self.text()

    def children(self):
        return psutil.Process(self.pid).children(recursive=True)

    def rss_bytes(self):
        """Resident memory of the main process alone."""
        return psutil.Process(self.pid).memory_info().rss

    def stop(self):
        """End the worker as an operator would, and wait."""
        family = self._family()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for each in family:
            if each.is_running():
                each.kill()

    def _family(self):
        try:
            return self.children()
        except psutil.NoSuchProcess:
            return []


@contextmanager
def worker(environment, tmp_path, **options):
    """Run a worker for the length of a ``with`` block."""
    log = tmp_path / f"worker-{os.urandom(4).hex()}.log"
    running = Worker(environment, log, **options)
    try:
        yield running.ready()
    finally:
        running.stop()

"""The sample's app in a worker that measures its main process: its memory, and its event loop's pauses.

What it writes is the largest value so far. A pause is counted in CPU time of the main thread, as a wait for a
busy machine is none of it.
"""

import json
import os
import time
from pathlib import Path

import psutil
from celery.signals import worker_ready
from sample_app import app

__all__ = ["app"]

SECONDS = 0.05
FILE = Path(os.environ["SHOP_NOTES"]).with_name("probe")
STATUS = Path("/proc/self/status")


def peak_bytes():
    """Return the most memory that this process has had; where the system does not say, what it has now."""
    if not STATUS.exists():
        return psutil.Process().memory_info().rss
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


class Probe:
    """Looks at the process each time that the event loop lets it."""

    def __init__(self):
        self._last = time.thread_time()
        self.pause_seconds = 0.0

    def look(self):
        now = time.thread_time()
        self.pause_seconds = max(self.pause_seconds, now - self._last)
        FILE.write_text(json.dumps({"pause_seconds": self.pause_seconds, "peak_bytes": peak_bytes()}))
        self._last = time.thread_time()


@worker_ready.connect
def start(sender, **_):
    sender.hub.call_repeatedly(SECONDS, Probe().look)

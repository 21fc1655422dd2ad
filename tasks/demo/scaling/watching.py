"""What the project's own live screen and Flower see while all workers run."""

import json
import re
import subprocess
import sys
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic, sleep
from typing import Self

from tasks.demo.flower import USER, Flower
from tasks.demo.processes import ROOT

TIMEOUT_SECONDS = 60
TOP = ("-m", "pipeline", "-A", "tasks.app", "top", "--once")


@dataclass(slots=True)
class Watching:
    """Asks both, on a thread of its own, until each has seen the workers."""

    flower: Flower
    names: set[str] = field(default_factory=set)
    """Workers that are to be seen."""
    picture: str = ""
    """What ``top`` printed."""
    seen_by_flower: set[str] = field(default_factory=set)
    _thread: Thread | None = None
    _top: "subprocess.Popen[str] | None" = None
    _closed: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End what is still running."""
        self._closed = True
        if self._top:
            self._top.terminate()
        if self._thread:
            self._thread.join()

    @property
    def has_begun(self) -> bool:
        """Whether it was started."""
        return self._thread is not None

    @property
    def is_over(self) -> bool:
        """Whether both have answered, or time is over."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def seen_by_top(self) -> int:
        """How many workers ``top`` counted."""
        found = re.search(r"^workers +(\d+)", self.picture, re.MULTILINE)
        return int(found[1]) if found else 0

    def start(self, names: set[str]) -> None:
        """Ask from now on."""
        self.names = names
        self._thread = Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        deadline = monotonic() + TIMEOUT_SECONDS
        while self.seen_by_top < len(self.names) and self._goes_on(deadline):
            self.picture = self._printed_by_top()
        while not self.seen_by_flower >= self.names and self._goes_on(deadline):
            self.seen_by_flower = _workers(self.flower)

    def _goes_on(self, deadline: float) -> bool:
        sleep(0.1)
        return monotonic() < deadline and not self._closed

    def _printed_by_top(self) -> str:
        self._top = subprocess.Popen(  # noqa: S603 - a fixed command
            [sys.executable, *TOP], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        return self._top.communicate()[0]


def _workers(flower: Flower) -> set[str]:
    """Return the names of workers, without their hosts; none while Flower does not answer."""
    login = b64encode(f"{USER}:{flower.password}".encode()).decode()
    request = urllib.request.Request(f"{flower.url}/workers?json=1")  # noqa: S310 - our own process
    request.add_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            workers = json.load(answer)["data"]
    except OSError:
        return set()
    return {each["hostname"].partition("@")[0] for each in workers if each["status"]}

"""How long a message waits for others to join its call, and the thread that sees to it."""

import threading
from collections.abc import Callable
from contextlib import suppress

SECONDS = 0.1
"""Who makes tasks one by one, as a generator in a chord's header may, wants the first to run before the last
is there."""


class Watch(threading.Thread):
    """Calls a function again and again, until it is stopped. Never keeps a process from its end."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__(name="claimcheck-batch", daemon=True)
        self._look = look
        self._over = threading.Event()
        with suppress(RuntimeError):  # no thread can be had: what waits is sent with the next message
            self.start()

    def run(self) -> None:
        """Look, about twice in the time that a message waits."""
        while not self._over.wait(SECONDS / 2):
            self._look()

    def stop(self) -> None:
        """Look no more; returns at once."""
        self._over.set()

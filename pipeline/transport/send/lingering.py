"""How long a message waits for others to join its call, and the thread that sends it then."""

import threading
from collections.abc import Callable
from contextlib import suppress

SECONDS = 0.1
"""A caller may make tasks one by one, as a generator in a chord's header does. The first ones run before the
last one is made."""

PACK_SECONDS = 0.5
"""The same for a message whose payload is in a pack that others may join."""


class Timer(threading.Thread):
    """Calls a function repeatedly until it is stopped. A daemon thread: it never keeps a process alive."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__(name="claimcheck-batch", daemon=True)
        self._call = call
        self._over = threading.Event()
        with suppress(RuntimeError):  # no thread can start: what waits is sent with the next message
            self.start()

    def run(self) -> None:
        """Call it twice in the time that a message waits."""
        while not self._over.wait(SECONDS / 2):
            self._call()

    def stop(self) -> None:
        """Stop, without waiting for a call that runs."""
        self._over.set()

"""One object on its way into the store, for messages of one batch."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from pipeline.claimcheck.packs.threads import Threads


class Upload:
    """An object that a thread stores, once it has begun; it never begins twice.

    Args:
        threads: those of the batch.
        store: puts the object into the store, and leaves nothing there if it fails.
        size_bytes: what is held in memory until then.
    """

    def __init__(self, threads: Threads, store: Callable[[], None], size_bytes: int) -> None:
        self._threads = threads
        self._store = store
        self.size_bytes = size_bytes
        self._stored: Future[Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it is stored, or has failed."""
        return self._stored is not None and self._stored.done()

    def begin(self) -> None:
        """Begin to store the object."""
        if self._stored is None:
            self._stored = self._threads.run(self._store)

    def wait(self) -> None:
        """Wait until the object is stored; begin, if that has not happened.

        Raises:
            PipelineError: it was not stored.
        """
        self.begin()
        if self._stored is not None:
            self._stored.result()

    def settle(self) -> None:
        """Wait until the object is stored, or is certainly not."""
        with suppress(Exception):  # whoever needs the payload gets the error
            self.wait()

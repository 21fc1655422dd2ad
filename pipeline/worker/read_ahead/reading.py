"""The process that reads ahead: it takes orders from the worker's main process, and decodes nothing.

It is none of the pool's. So the main process reads no payload, and has the time of its one thread for
messages; and the children of the pool can be forked from it, which a runtime of obstore would not survive.
"""

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread

from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.packs import ranges
from pipeline.claimcheck.spool import spool
from pipeline.stores.protocol import Store
from pipeline.worker.read_ahead.records import ASKED, records

THREADS = 16
"""Payloads that are read at the same time: at 20 ms for each, 800 a second."""
TICK_SECONDS = 1.0
"""How often it looks whether the main process is there, and for files that nobody took."""


def run(store: Store, reader: int, writer: int, limit_bytes: int) -> None:
    """Read ahead until the main process ends; the whole life of a forked process.

    Args:
        store: where the payloads are.
        reader: file descriptor of the orders.
        writer: the other end, which is the main process's.
        limit_bytes: most bytes of all files.
    """
    main = os.getppid()
    os.close(writer)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the main process ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_Reader(store, limit_bytes).obey, args=(reader,), daemon=True).start()
    while os.getppid() == main:
        time.sleep(TICK_SECONDS)
        spool.expire()
    spool.close()  # the main process was killed


class _Reader:
    def __init__(self, store: Store, limit_bytes: int) -> None:
        self._store, self._limit_bytes = store, limit_bytes
        self._threads = ThreadPoolExecutor(THREADS)
        self._waiting: dict[tuple[str, int | None], Future[None]] = {}

    def obey(self, reader: int) -> None:
        """Take each order, and wait for none: an order may cancel one before it."""
        with os.fdopen(reader, "rb") as stream:
            for kind, claim in records(stream):
                if kind == ASKED:
                    self._submit(claim)
                elif waiting := self._waiting.get((claim.key, claim.offset)):
                    waiting.cancel()

    def _submit(self, claim: Claim) -> None:
        name = claim.key, claim.offset
        self._waiting[name] = reading = self._threads.submit(self._read, claim)
        reading.add_done_callback(lambda _: self._waiting.pop(name, None))

    def _read(self, claim: Claim) -> None:
        spool.put(claim, lambda: ranges.read(self._store, claim), self._limit_bytes)

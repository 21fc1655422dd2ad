"""Asks the reading process for payloads of messages that wait, in the worker's main process.

Celery hands a request to the pool's semaphore, and the semaphore to the pool once a process is free. What is
between the two waits. Source: celery 5.7.0, ``worker/worker.py`` (``_process_task_sem``, ``_process_task``),
``worker/components.py`` (``Pool.create``).
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

from billiard.context import ForkContext

from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.spool import spool
from pipeline.deferred.body import deferred_in
from pipeline.worker.read_ahead import reading
from pipeline.worker.read_ahead.records import ASKED, STARTED, record


class ReadAhead:
    """The reading process of one worker, and the pipe to it. Used by the worker's main thread alone.

    Args:
        claimcheck: that of the application.
    """

    def __init__(self, claimcheck: ClaimCheck) -> None:
        self._claimcheck = claimcheck
        self._asked: WeakSet[Any] = WeakSet()  # some never start: they are given back
        self._writer = -1
        self._process: Any = None

    def start(self) -> None:
        """Fork the reading process, before the main process has threads and a pool.

        Raises:
            ValueError: its directory cannot be made.
        """
        options = self._claimcheck.options
        try:
            spool.open(options.read_ahead_directory)
        except OSError as exc:
            raise ValueError(
                f"read_ahead_directory={options.read_ahead_directory!r}: nothing can be written there "
                f"({exc.strerror}); name a directory that exists and that the worker may write to"
            ) from exc
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        run = partial(reading.run, self._claimcheck.store, reader, self._writer, options.read_ahead_bytes)
        self._process = ForkContext().Process(target=run, name="claimcheck-read-ahead", daemon=True)
        self._process.start()
        os.close(reader)

    def close(self) -> None:
        """End the reading process, and remove what it has read. Safe to call twice."""
        if self._process is None:
            return
        self._process.terminate()
        self._process.join()
        os.close(self._writer)
        self._process, self._writer = None, -1
        spool.close()

    def ask(self, request: Any) -> None:
        """Let the payload of a request be read, which waits for a process of the pool. Never raises."""
        claim = _claim_of(request)
        if claim is not None and self._claimcheck.owns(claim) and self._write(ASKED, claim):
            self._asked.add(request)

    def starts(self, request: Any) -> None:
        """Say that a request waits no longer: what is not being read by now, its own process reads."""
        if request in self._asked and (claim := _claim_of(request)):
            self._asked.discard(request)
            self._write(STARTED, claim)

    def _write(self, kind: bytes, claim: Claim) -> bool:
        try:
            os.write(self._writer, record(kind, claim))
        except OSError:  # the process is behind, or has ended
            return False
        return True


def follow(worker: Any, read_ahead: ReadAhead) -> None:
    """Ask for payloads while a worker runs. Call it once the worker knows its pool, which must be prefork."""
    hand_over: Callable[[Any], Any] = worker.process_task
    begin: Callable[[Any], Any] = worker._process_task  # noqa: SLF001 - as above

    def arrived(request: Any) -> Any:
        if worker.semaphore.value <= 0:
            read_ahead.ask(request)
        return hand_over(request)

    def begins(request: Any) -> Any:
        read_ahead.starts(request)
        return begin(request)

    worker.process_task, worker._process_task = arrived, begins  # noqa: SLF001


def _claim_of(request: Any) -> Claim | None:
    deferred = deferred_in(getattr(request, "_payload", None))
    return None if deferred is None else deferred.claim

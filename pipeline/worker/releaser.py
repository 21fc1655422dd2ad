"""Gives payloads up in the worker's main process: after the message is gone, in batches, off the hot path.

The one seam for "release after settle": a payload is released when its execution has ended *and* Kombu's
message says that it was acknowledged. With our SQS transport it only says so once SQS has confirmed.
"""

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from pipeline.claim import Claim
from pipeline.claimcheck import ClaimCheck

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""A message not acknowledged by then, and not being settled, will not be: it comes again."""

BATCH = 1_000
"""Most keys of one DeleteObjects. Source: Amazon S3 API Reference."""


class Settling(Protocol):
    """What is asked of a Kombu message."""

    @property
    def acknowledged(self) -> bool:
        """Whether the broker has been told, and has confirmed."""


@dataclass(frozen=True, slots=True)
class _Ended:
    message: Settling
    claim: Claim
    since: float = field(default_factory=monotonic)


class Releaser:
    """Waits for messages to settle and releases their payloads, on a thread of its own.

    Args:
        claimcheck: does the releasing.
        interval_seconds: how long payloads are collected before one call deletes them.
    """

    def __init__(self, claimcheck: ClaimCheck, interval_seconds: float = 0.5) -> None:
        self._claimcheck = claimcheck
        self._interval = interval_seconds
        self._ended: deque[_Ended] = deque()
        self._settled: list[Claim] = []
        self._wake = threading.Event()
        self._closed = False
        self._flushing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="claimcheck-releaser", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ended(self, message: Settling, claim: Claim) -> None:
        """Note that an execution has ended for good; returns at once, from any thread."""
        self._ended.append(_Ended(message, claim))

    def close(self) -> None:
        """Release what has settled by now, and stop; what cannot be released is counted as orphaned."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush()
        self._claimcheck.orphan(self._settled)

    def flush(self) -> None:
        """Release every payload whose message has settled; keep waiting for the others.

        While the store is unavailable its payloads are kept in mind, and tried again with the next flush.
        """
        with self._flushing:
            waiting = [self._ended.popleft() for _ in range(len(self._ended))]
            self._settled += [ended.claim for ended in waiting if ended.message.acknowledged]
            self._ended.extend(ended for ended in waiting if self._may_settle(ended))
            settled, self._settled = self._settled, []
            for start in range(0, len(settled), BATCH):
                self._settled += self._claimcheck.release(settled[start : start + BATCH])

    def _may_settle(self, ended: _Ended) -> bool:
        if ended.message.acknowledged:
            return False
        unsettled = getattr(ended.message, "unsettled", False)  # our SQS transport's messages know
        settling = getattr(ended.message, "settling", False)
        if settling or (not unsettled and monotonic() - ended.since < PATIENCE_SECONDS):
            return True
        logger.warning("payload kept, its message did not settle", extra={"claim_key": ended.claim.key})
        return False

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._interval)
            try:
                self.flush()
            except Exception:
                # Payloads that stay are found by the sweep; a thread that dies would leave all of them.
                logger.exception("release failed")

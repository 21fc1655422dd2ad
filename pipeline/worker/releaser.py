"""Deletes payloads in the worker's main process, in batches, after their messages have settled.

The one place for "release after settle": a payload is released when its execution has ended *and* Kombu's
message is acknowledged. With our SQS transport a message is acknowledged once SQS has confirmed its delete.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from math import inf
from time import monotonic, time_ns

from pipeline.aws.limits import S3_DELETE_COUNT
from pipeline.claimcheck.claim_check import ClaimCheck, Released
from pipeline.claimcheck.object_metadata import span_attributes
from pipeline.errors import StoreError
from pipeline.metrics.table import RELEASE_LAG_SECONDS
from pipeline.telemetry import log_lines, tracing
from pipeline.worker import shared_payloads
from pipeline.worker.ended import Ended, EndedMember, EndedOwner, IsNeeded, Settling, not_needed

logger = log_lines.logger(__name__)

SETTLE_TIMEOUT_SECONDS = 60.0
"""A message that is neither acknowledged nor being settled after this time will be redelivered. Its payload
stays."""


class Releaser:
    """Waits for messages to settle and releases their payloads, on a thread of its own.

    Args:
        claimcheck: does the releasing.
        interval_seconds: how long payloads are collected before one call deletes them.
        clock: the time, in seconds, that messages are waited for by.
    """

    def __init__(
        self,
        claimcheck: ClaimCheck,
        interval_seconds: float = 0.5,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.claimcheck = claimcheck
        self._clock = clock
        self._interval = interval_seconds
        self._ended: deque[Ended] = deque()
        self._settled: list[Ended] = []
        self._wake = threading.Event()
        self._closed = False
        self._flushing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="claimcheck-releaser", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ended(self, message: Settling, claim: Released, is_needed: IsNeeded = not_needed) -> None:
        """Queue the payload of an execution that has ended for good. Returns at once, from any thread.

        Args:
            message: it is released once this has settled.
            claim: names the payload.
            is_needed: see ``IsNeeded``.
        """
        self._ended.append(EndedOwner(message, self._clock(), is_needed, claim))

    def member_ended(
        self,
        message: Settling,
        key: str,
        member: bytes,
        is_needed: IsNeeded = not_needed,
        *,
        in_pack: bool = False,
    ) -> None:
        """Queue the mark of a shared payload's member that has ended for good, in the same way.

        Args:
            message: it is marked once this has settled.
            key: of the payload.
            member: see ``claimcheck/ledger.py``.
            is_needed: see ``IsNeeded``.
            in_pack: see ``EndedMember``.
        """
        self._ended.append(EndedMember(message, self._clock(), is_needed, key, member, in_pack))

    def leave(self) -> None:
        """Release what has settled by now on the thread, then stop it. Does not wait for the store."""
        self._closed = True
        self._wake.set()

    def close(self) -> None:
        """Release what has settled by now, and stop; what cannot be released is counted as orphaned."""
        self.leave()
        if self._thread.is_alive():
            self._thread.join()
        self.flush(is_last=True)
        self.claimcheck.orphan([ended.claim for ended in self._settled if isinstance(ended, EndedOwner)])
        shared_payloads.orphan(self.claimcheck, _members(self._settled))

    def flush(self, *, is_last: bool = False) -> None:
        """Release every payload whose message has settled; keep waiting for the others.

        While the store is unavailable, its payloads are kept for the next flush.

        Args:
            is_last: no end of a member waits for others of its pack: this process may be stopped.
        """
        with self._flushing:
            for _ in range(len(self._ended)):
                self._sort(self._ended.popleft())
            now = inf if is_last else self._clock()
            due, later = shared_payloads.due(self._settled, now)
            free = [ended for ended in due if _is_free(ended)]
            self._settled = [*later, *shared_payloads.mark(self.claimcheck, _members(free))]
            for batch in _batches([ended for ended in free if isinstance(ended, EndedOwner)]):
                self._settled += self._release(batch)

    def _sort(self, ended: Ended) -> None:
        """Sort one payload: settled, still waiting, or kept because its message did not settle."""
        may_settle = self._may_settle(
            ended
        )  # read first: a message that settles after this line is acknowledged below
        if ended.message.acknowledged:
            self._settled.append(ended)
        elif may_settle:
            self._ended.append(ended)
        else:
            logger.warning("payload kept, its message did not settle", extra=ended.log_fields())

    def _release(self, settled: list[EndedOwner]) -> list[EndedOwner]:
        """Release payloads, and return those to try again later."""
        orphaned, begun_ns = list[Mapping[str, StoreError]](), time_ns()
        later = self.claimcheck.release([ended.claim for ended in settled], orphaned.append)
        keys = {claim.key for claim in later}
        for orphans in orphaned:
            over = [ended for ended in settled if ended.claim.key not in keys]
            self._report([ended for ended in over if ended.claim.key not in orphans], None, begun_ns)
            for ended in over:
                if ended.claim.key in orphans:
                    self._report([ended], orphans[ended.claim.key], begun_ns)
        now = self._clock()
        for ended in settled:
            if ended.claim.key not in keys:
                self.claimcheck.recorder.record(RELEASE_LAG_SECONDS, now - ended.since)
        return [ended for ended in settled if ended.claim.key in keys]

    def _report(self, over: list[EndedOwner], error: StoreError | None, begun_ns: int) -> None:
        """Log the outcome for each payload, and add a span to the trace of its message."""
        if not over:
            return
        spans = [(tracing.trace_headers(ended.headers), self._attributes(ended)) for ended in over]
        tracing.record("claimcheck release", spans, begun_ns, error)
        for ended in over:
            if error is None:
                logger.info("payload released", extra=ended.log_fields())
            else:
                logger.error("payload not released, it is an orphan: %s", error, extra=ended.log_fields())

    def _attributes(self, ended: EndedOwner) -> tracing.Attributes:
        known, claimcheck = ended.log_fields(), self.claimcheck
        store = claimcheck.stores.get(ended.claim.store, claimcheck.store)
        about = span_attributes(store, ended.claim, known["task_id"], known["task_name"], known["queue"])
        return {**about, "messaging.system": "aws_sqs"} if "sqs_message" in ended.delivery else about

    def _may_settle(self, ended: Ended) -> bool:
        if getattr(ended.message, "unsettled", False):  # our SQS transport's messages know
            return False
        is_settling: bool = getattr(ended.message, "settling", False)
        return is_settling or self._clock() - ended.since < SETTLE_TIMEOUT_SECONDS

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._wake.wait(self._interval)
            is_last = self._closed  # read before the flush, so that the last flush takes everything
            try:
                self.flush(is_last=is_last)
            except Exception:
                # The sweep finds payloads that stay. If this thread died, all of them would stay.
                logger.exception("release failed")


def _members(ended: Iterable[Ended]) -> list[EndedMember]:
    return [each for each in ended if isinstance(each, EndedMember)]


def _is_free(ended: Ended) -> bool:
    if ended.is_needed():
        logger.info("payload kept, another attempt of its task needs it", extra=ended.log_fields())
        return False
    return True


def _batches(settled: list[EndedOwner]) -> Iterator[list[EndedOwner]]:
    """Yield what one call can delete: of one store, and not too much."""
    settled.sort(key=_store)
    for _, group in groupby(settled, _store):
        of_store = list(group)
        for start in range(0, len(of_store), S3_DELETE_COUNT):
            yield of_store[start : start + S3_DELETE_COUNT]


def _store(ended: EndedOwner) -> str:
    return ended.claim.store

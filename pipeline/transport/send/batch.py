"""Sends messages that are published together in few calls, and reads the answer for each of them.

A :class:`Batch` collects what Kombu would send one by one: a call for each queue as soon as one is full or
has waited for 100 ms, and the rest at the end. SQS may send some entries of a call and fail others, so
every entry has an end of its own: confirmed, certainly not sent, or unclear. Runs in the process and in the
thread that publishes, and in a second thread while that one is busy with something else.
"""

import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any, NamedTuple

from kombu.exceptions import OperationalError

from pipeline.aws.limits import SQS_BATCH_COUNT, SQS_MESSAGE_LIMIT_BYTES
from pipeline.telemetry import log_lines
from pipeline.transport.send import lingering
from pipeline.transport.send.entries import Entry, is_for_one, send

logger = log_lines.logger(__name__)

ATTEMPTS = 4
BACKOFF_SECONDS = 0.1

GiveUp = Callable[[Sequence[Any], Sequence[Any]], None]
"""Called with publications that were certainly not sent, and with those that may have been, as they came."""


class Failed(NamedTuple):
    """A message that was not sent, or that may not have been sent."""

    task_id: str
    queue: str
    code: str
    """SQS's, or the name of the error if SQS did not answer."""
    is_certain: bool
    """Whether it is certain that the message is not on the queue."""


class BatchSendError(OperationalError):
    """Some of the messages that were published together were not sent; ``failed`` names each of them."""

    def __init__(self, message: str, failed: Iterable[Iterable[Any]] = ()) -> None:
        self.failed = tuple(Failed(*each) for each in failed)
        super().__init__(message, self.failed)

    def __str__(self) -> str:
        return str(self.args[0])


class Batch:
    """Collects messages of one thread, and sends them.

    Args:
        limit_bytes: most that one call may weigh.
        give_up: called with what failed, before the error is raised.
    """

    def __init__(self, limit_bytes: int, give_up: GiveUp) -> None:
        self._limit_bytes = min(limit_bytes, SQS_MESSAGE_LIMIT_BYTES)
        self._give_up = give_up
        self._owner = _thread()
        self._is_open = True
        self._lock = threading.RLock()
        self._timer: lingering.Timer | None = None
        self._is_failing = False
        self._waiting: dict[str, list[Entry]] = {}
        self._failed: list[Entry] = []
        self._given_up: list[Failed] = []
        self._broken: set[tuple[str, str]] = set()

    @property
    def takes(self) -> bool:
        """Whether a message may be added here and now.

        Not in a thread or a forked process that inherited the context, and not after the end: it would
        never be sent.
        """
        return self._is_open and self._owner == _thread()

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Send nothing in a ``with`` block: it may add several messages that share a payload."""
        with self._lock:
            yield

    def add(self, entry: Entry) -> None:
        """Collect a message. Does no I/O, for Kombu would repeat it if that failed."""
        with self._lock:
            self._waiting.setdefault(entry.url, []).append(entry)
        self._timer = self._timer or lingering.Timer(self.send_due)

    def send_full(self, urls: Iterable[str]) -> None:
        """Send the calls that no further message fits into, and those that have waited long enough.

        Raises:
            BatchSendError: nothing of a call was sent, now or since the last time; names all that has failed.
        """
        with self._lock:
            for url in urls:
                self._send_ready(url)
            if self._is_failing:
                self._raise_failed()

    def send_due(self) -> None:
        """Send what has waited long enough, in the second thread; nothing while the first one publishes.

        The first one looks itself when it has published. What fails is raised there.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            with suppress(Exception):  # each entry has noted it
                for url in list(self._waiting):
                    self._send_ready(url)
        finally:
            self._lock.release()

    def close(self, leaving: BaseException | None = None) -> None:
        """Send what is left and collect no more.

        Args:
            leaving: what the block of the batch is left with. A request to end (``KeyboardInterrupt``) is
                not replaced by an error of ours.

        Raises:
            BatchSendError: some messages were not sent, and that was not raised yet.
        """
        self._is_open = False
        if self._owner[0] != os.getpid():  # a child that was forked in the block: its parent sends
            return
        if self._timer is not None:
            self._timer.stop()
        try:
            with self._lock:
                self._send_rest()
        except BaseException as exc:
            self._interrupted(exc)
            raise
        if leaving is None or isinstance(leaving, Exception):
            self._raise_failed()
        self._log_failed()

    def _send_ready(self, url: str) -> None:
        while not self._is_failing and (call := self._next_call(url)):
            self._send(call)

    def _send_rest(self) -> None:
        for url in list(self._waiting):
            while call := self._next_call(url, is_last=True):
                self._send(call)

    def _next_call(self, url: str, *, is_last: bool = False) -> list[Entry]:
        """Take as many messages as one call carries; none if others may still join them."""
        waiting = self._waiting.get(url, [])
        count = self._fitting(waiting)
        is_due = waiting and monotonic() - waiting[0].since >= lingering.SECONDS
        if count == len(waiting) < SQS_BATCH_COUNT and not (is_last or is_due):
            return []
        self._waiting[url] = waiting[count:]
        return waiting[:count]

    def _fitting(self, entries: list[Entry]) -> int:
        """Count the first entries that fit into one call.

        Of a FIFO queue's message group it carries one message alone: SQS may fail that and send the next.
        """
        size_bytes, sequences = 0, set[tuple[str, str]]()
        for count, entry in enumerate(entries[:SQS_BATCH_COUNT]):
            size_bytes += entry.size_bytes
            if count and (size_bytes > self._limit_bytes or entry.sequence in sequences):
                return count
            if entry.sequence:
                sequences.add(entry.sequence)
        return min(len(entries), SQS_BATCH_COUNT)

    def _send(self, call: list[Entry]) -> None:
        """Send one call, more than once if need be, and note whether nothing of it was sent."""
        left = [entry for entry in call if entry.sequence not in self._broken]
        for entry in call:
            if entry not in left:
                entry.fails("PredecessorFailed", is_certain=True)
        try:
            for attempt in range(ATTEMPTS):
                if attempt and left:
                    sleep(random.uniform(0.5, 1) * BACKOFF_SECONDS * 2**attempt)  # noqa: S311 - no secret
                left = self._attempt(left)
        except BaseException as exc:
            for entry in left:
                entry.fails(type(exc).__name__, is_certain=False)
            raise
        finally:
            failed = [entry for entry in call if entry.code]
            self._fail(failed)
            self._is_failing |= len(failed) == len(call)

    def _attempt(self, entries: list[Entry]) -> list[Entry]:
        """Send entries once, and return those to send again."""
        if not entries:
            return []
        failures = send(entries)
        if len(entries) > 1 and any(is_for_one(each.code) for each in failures.values()):
            half = len(entries) // 2
            return self._attempt(entries[:half]) + self._attempt(entries[half:])
        for entry in entries:
            entry.code = ""
        for entry, failure in failures.items():
            entry.fails(failure.code, is_certain=failure.is_certain)
        return [entry for entry, failure in failures.items() if failure.is_transient]

    def _fail(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._failed.append(entry)
            if entry.sequence:
                self._broken.add(entry.sequence)

    def _interrupted(self, exc: BaseException) -> None:
        """Note what will not be sent any more."""
        with self._lock:
            for entry in [entry for waiting in self._waiting.values() for entry in waiting]:
                entry.fails(type(exc).__name__, is_certain=True)
                self._failed.append(entry)
            self._waiting.clear()
            self._log_failed()

    def _raise_failed(self) -> None:
        if self._conclude():
            raise _error(self._given_up)

    def _log_failed(self) -> None:
        if self._conclude():
            logger.error("%s", _error(self._given_up))

    def _conclude(self) -> bool:
        """Give up the payloads of what has failed since the last time, and return whether anything has."""
        failed, self._failed, self._is_failing = self._failed, [], False
        self._given_up += [_named(entry) for entry in failed]
        parcels = {id(entry.parcel): entry.parcel for entry in failed}.values()
        over = [parcel for parcel in parcels if all(entry.code for entry in parcel.entries)]
        gone = [parcel for parcel in over if all(entry.is_certain for entry in parcel.entries)]
        unclear = [parcel for parcel in over if parcel not in gone]
        if over:
            self._give_up([it.publication for it in gone], [it.publication for it in unclear])
        return bool(failed)


def _thread() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def _named(entry: Entry) -> Failed:
    publication = entry.parcel.publication
    return Failed(publication.task_id, publication.queue, entry.code, entry.is_certain)


def _error(failed: list[Failed]) -> BatchSendError:
    queues = ", ".join(sorted({each.queue for each in failed}))
    codes = ", ".join(sorted({each.code for each in failed}))
    unclear_count = sum(not each.is_certain for each in failed)
    return BatchSendError(
        f"messages not sent: {len(failed)} [queue={queues}, code={codes}]; SQS returned errors or did not "
        f"confirm them, and {unclear_count} of them may have been sent; .failed names their tasks: "
        "fix the cause and publish those again",
        failed,
    )

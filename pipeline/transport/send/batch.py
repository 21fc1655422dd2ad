"""Sends messages that are published together in few calls, and reads the answer for each of them.

A :class:`Batch` collects what Kombu would send one by one: a call for each queue as soon as one is full or
has waited for 100 ms, and the rest at the end. SQS may send some entries of a call and fail others, so
every entry has an end of its own: confirmed, certainly not sent, or unclear. Runs in the process and in the
thread that publishes, and in a second thread while that one is busy with something else. What waits for its
payload is sent by a thread that waits with it.
"""

import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from functools import partial
from time import sleep
from typing import Any

from pipeline.aws.limits import SQS_BATCH_COUNT, SQS_MESSAGE_LIMIT_BYTES
from pipeline.claimcheck.packs.uploads import Uploads
from pipeline.telemetry import log_lines
from pipeline.transport.send import lingering
from pipeline.transport.send.batch_error import Failed, batch_error, named
from pipeline.transport.send.entries import Entry, send_apart

logger = log_lines.logger(__name__)

ATTEMPTS = 4
BACKOFF_SECONDS = 0.1

Sending = tuple[list[Entry], Future[Any]]
"""A call that a thread sends."""

GiveUp = Callable[[Sequence[Any], Sequence[Any]], None]
"""Called with publications that were certainly not sent, and with those that may have been, as they came."""


class Batch:
    """Collects messages of one thread, and sends them.

    Args:
        limit_bytes: most that one call may weigh.
        give_up: called with what failed, before the error is raised.
        uploads: the payloads of the messages, if threads store them.
    """

    def __init__(self, limit_bytes: int, give_up: GiveUp, uploads: Uploads | None = None) -> None:
        self._limit_bytes = min(limit_bytes, SQS_MESSAGE_LIMIT_BYTES)
        self._give_up = give_up
        self.uploads = uploads
        self._sending: list[Sending] = []
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
                self._wait()
        except BaseException as exc:
            self._interrupted(exc)
            raise
        finally:
            if self.uploads is not None:
                self.uploads.threads.close()
        if leaving is None or isinstance(leaving, Exception):
            self._raise_failed()
        self._log_failed()

    def _send_ready(self, url: str) -> None:
        while not self._is_failing and (call := self._next_call(url)):
            self._dispatch(call)

    def _send_rest(self) -> None:
        for url in list(self._waiting):
            while call := self._next_call(url, is_last=True):
                self._dispatch(call)

    def _dispatch(self, call: list[Entry]) -> None:
        """Send one call, in a thread if it waits for payloads and its queue is not ordered."""
        waits = False
        for upload in filter(None, (entry.upload for entry in call)):
            upload.begin()
            waits = waits or not upload.is_over
        if self.uploads is None or not waits or call[0].sequence:
            self._send(call)
        else:
            self._sending.append((call, self.uploads.threads.run(partial(self._send, call))))

    def _wait(self) -> None:
        """Wait for the calls that threads send."""
        wait([sent for _, sent in self._sending])
        sending, self._sending = self._sending, []
        for _, sent in sending:
            sent.result()

    def _next_call(self, url: str, *, is_last: bool = False) -> list[Entry]:
        """Take as many messages as one call carries; none if others may still join them."""
        waiting = self._waiting.get(url, [])
        count = self._fitting(waiting)
        if not is_last and not (waiting and waiting[0].is_due):
            is_partial = count == len(waiting) < SQS_BATCH_COUNT
            if is_partial or any(entry.shares_upload for entry in waiting[:count]):
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
        stored = [entry for entry in call if entry.is_stored()]
        left = [entry for entry in stored if entry.sequence not in self._broken]
        for entry in stored:
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
        failures = send_apart(entries)
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
            left = [entry for waiting in self._waiting.values() for entry in waiting]
            for entry in [*left, *self._dropped()]:
                entry.fails(type(exc).__name__, is_certain=True)
                self._failed.append(entry)
            self._waiting.clear()
            self._log_failed()

    def _dropped(self) -> list[Entry]:
        """Keep threads from sending what they have not begun, and return that."""
        if self.uploads is None:
            return []
        self.uploads.threads.drop()
        self.uploads.threads.close()
        dropped = [entry for call, sent in self._sending if sent.cancelled() for entry in call]
        self._sending = []
        return dropped

    def _raise_failed(self) -> None:
        self._wait()
        if failed := self._conclude():
            raise batch_error(self._given_up) from next(filter(None, (each.error for each in failed)), None)

    def _log_failed(self) -> None:
        if self._conclude():
            logger.error("%s", batch_error(self._given_up))

    def _conclude(self) -> list[Entry]:
        """Give up the payloads of what has failed since the last time, and return that."""
        failed, self._failed, self._is_failing = self._failed, [], False
        self._given_up += [named(entry) for entry in failed]
        parcels = {id(entry.parcel): entry.parcel for entry in failed}.values()
        over = [parcel for parcel in parcels if all(entry.code for entry in parcel.entries)]
        gone = [parcel for parcel in over if all(entry.is_certain for entry in parcel.entries)]
        unclear = [parcel for parcel in over if parcel not in gone]
        if over:
            self._give_up([it.publication for it in gone], [it.publication for it in unclear])
        return failed


def _thread() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()

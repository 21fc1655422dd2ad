"""Decides when a queue is asked for messages, and for how many: few calls, and no process without work.

While each process of the pool has a task, free prefetch slots are collected for a moment, so that one call
brings several messages. A queue that fills its answers is asked several times at once. One that has nothing
is asked once, and SQS holds that request until a message comes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vine import promise

from pipeline.aws.limits import SQS_BATCH_COUNT, SQS_FIFO_SUFFIX

COLLECT_SECONDS = 0.05
"""How long free slots wait for others while no process lacks work; as long as acknowledgements do."""
REQUESTS_LIMIT = 4
"""Most requests to one queue at the same time: at a round trip of 20 ms, 2,000 messages a second."""
PACE_SHARE = 0.1
"""What one more interval counts in the average of them."""
LOOK_SECONDS = 0.005
LOOK_LIMIT_SECONDS = 1.0
"""How often a consumer without an event loop looks for free slots, and for how long before it goes on."""


@dataclass(eq=False)
class _Request:
    count: int
    since: float


@dataclass(eq=False)
class _Queue:
    requests: list[_Request] = field(default_factory=list)
    is_full: bool = False
    """Whether the last answer had as many messages as were asked for."""
    answer_seconds: float = 0.0
    """How long the last full answer took, until its messages were dispatched."""
    took_seconds: float = 0.0
    """Time between the last request and its answer."""
    free_since: float | None = None
    timer: Any = None
    pauses: bool = False
    """Whether the timer ends a pause: nothing is asked for before."""


class _Pace:
    """How fast slots become free while there are tasks."""

    def __init__(self) -> None:
        self._seconds: float | None = None
        """Between two slots, as a moving average."""
        self._since = 0.0

    def arrived(self, now: float) -> None:
        """Start the next interval: messages have come, perhaps to a worker that had none."""
        self._since = now

    def freed(self, now: float) -> None:
        """End an interval."""
        took, self._since = now - self._since, now
        self._seconds = took if self._seconds is None else self._seconds + (took - self._seconds) * PACE_SHARE

    def slots(self, seconds: float, now: float) -> int:
        """Return how many slots will become free in so many seconds: none, if none has for long."""
        interval = max(self._seconds or seconds, now - self._since)
        return int(seconds / interval) if interval else 0


class Asking:
    """Asks the queues of one channel for messages.

    Args:
        channel: its ``_get_async`` sends a request, its ``_schedule_queue`` calls :meth:`go_on`.
        clock: the time, in seconds.
    """

    def __init__(self, channel: Any, clock: Callable[[], float]) -> None:
        self._channel, self._clock = channel, clock
        self._queues: dict[str, _Queue] = {}
        self._pace = _Pace()
        self._is_woken = False

    # In the event loop

    def go_on(self, queue: str, pause_seconds: float = 0.0) -> None:
        """Ask a queue as often as is allowed now, or after a pause."""
        it = self._of(queue)
        self._stop_timer(it)
        if pause_seconds:
            self.look_again(queue, pause_seconds, pauses=True)
        while count := self._count(queue, it):
            self._send(queue, it, count)
        if not it.timer and (not it.requests or it.is_full):
            self.look_again(queue, COLLECT_SECONDS)

    def look_again(self, queue: str, seconds: float, *, pauses: bool = False) -> None:
        """Look at a queue after some seconds; with ``pauses``, not before."""
        it = self._of(queue)
        self._stop_timer(it)
        it.timer = self._channel.hub.call_later(seconds, self._channel._schedule_queue, queue)  # noqa: SLF001
        it.pauses = pauses

    def go_on_after(self, queue: str, pause_seconds: float, found: int) -> None:
        """Ask a queue again: after a failure's pause, or ``polling_interval`` after an empty request."""
        interval = self._channel.connection.polling_interval or 0.0
        rest = 0.0 if found else max(interval - self._of(queue).took_seconds, 0.0)
        if pause := pause_seconds or rest:
            self.look_again(queue, pause, pauses=True)
        else:
            self._channel.hub.call_soon(self._channel._schedule_queue, queue)  # noqa: SLF001

    def since(self, queue: str) -> float:
        """Return when the oldest request was sent whose answer is awaited; now if there is none."""
        return min((each.since for each in self._of(queue).requests), default=self._clock())

    def slot_freed(self) -> None:
        """Look again at queues that wait for free slots. May be called by any thread."""
        self._pace.freed(self._clock())
        if not self._is_woken and any(it.timer for it in self._queues.values()):
            self._is_woken = True
            self._channel.hub.call_soon(self._wake)

    def _wake(self) -> None:
        self._is_woken = False
        for queue, it in list(self._queues.items()):
            if it.timer and not it.pauses:
                self._channel._schedule_queue(queue)  # noqa: SLF001

    def _send(self, queue: str, it: _Queue, count: int) -> None:
        request = _Request(count, self._clock())
        it.requests.append(request)
        it.free_since = None
        self._channel._get_async(queue, count, callback=promise(self._answered, (queue, request)))  # noqa: SLF001

    def _answered(self, queue: str, request: _Request, found: int | None = None) -> None:
        it, now = self._of(queue), self._clock()
        it.requests.remove(request)
        it.is_full = (found or 0) >= request.count
        it.took_seconds = now - request.since
        it.answer_seconds = it.took_seconds if it.is_full else 0.0
        self._pace.arrived(now)
        self._channel._loop1(queue, found)  # noqa: SLF001
        it.took_seconds = 0.0

    def _stop_timer(self, it: _Queue) -> None:
        if it.timer is not None:
            it.timer.cancel()
            it.timer, it.pauses = None, False

    # In either way

    def wait(self, timeout_seconds: float | None) -> None:
        """Wait for free slots without an event loop, no longer than the timeout; greenlets run meanwhile."""
        limit = LOOK_LIMIT_SECONDS if timeout_seconds is None else min(timeout_seconds, LOOK_LIMIT_SECONDS)
        it, end = _Queue(), self._clock() + limit
        while not self._count("", it) and self._clock() < end:
            time.sleep(LOOK_SECONDS)

    def _count(self, queue: str, it: _Queue) -> int:
        """Return how many messages to ask a queue for now; 0 means: not yet."""
        spare = self._channel.connection.spare_slots()
        ahead = min(self._pace.slots(it.answer_seconds, self._clock()), spare)
        free = self._free_slots() + ahead - sum(each.count for each in it.requests)
        is_fifo = queue.endswith(SQS_FIFO_SUFFIX)
        enough = 1 if is_fifo else min(spare + 1, SQS_BATCH_COUNT)
        if free <= 0 or it.pauses or (it.requests and (is_fifo or not self._may_ask_more(it, free, enough))):
            return 0
        it.free_since = self._clock() if it.free_since is None else it.free_since
        is_time = self._clock() - it.free_since >= COLLECT_SECONDS
        return min(free, SQS_BATCH_COUNT) if free >= enough or is_time else 0

    @staticmethod
    def _may_ask_more(it: _Queue, free: int, enough: int) -> bool:
        return it.is_full and free >= enough and len(it.requests) < REQUESTS_LIMIT

    def _free_slots(self) -> int:
        qos = self._channel.qos
        if not qos.can_consume():
            return 0
        free: int | None = qos.can_consume_max_estimate()
        return SQS_BATCH_COUNT * REQUESTS_LIMIT if free is None else free

    def _of(self, queue: str) -> _Queue:
        return self._queues.setdefault(queue, _Queue())

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
LOOK_SECONDS = 0.005
LOOK_LIMIT_SECONDS = 1.0
"""How often a consumer without an event loop looks for free slots, and for how long before it goes on."""


@dataclass(eq=False)
class _Request:
    count: int
    since: float
    freed: int
    """How many slots had been freed by then."""


@dataclass(eq=False)
class _Queue:
    requests: list[_Request] = field(default_factory=list)
    is_full: bool = False
    """Whether the last answer had as many messages as were asked for."""
    ahead: int = 0
    """How many slots were freed while the last full answer was under way: as many are about to be."""
    took_seconds: float = 0.0
    """Time between the last request and its answer."""
    free_since: float | None = None
    timer: Any = None
    pauses: bool = False
    """Whether the timer ends a pause: nothing is asked for before."""


class Asking:
    """Asks the queues of one channel for messages.

    Args:
        channel: its ``_get_async`` sends a request, its ``_schedule_queue`` calls :meth:`go_on`.
        clock: the time, in seconds.
    """

    def __init__(self, channel: Any, clock: Callable[[], float]) -> None:
        self._channel, self._clock = channel, clock
        self._queues: dict[str, _Queue] = {}
        self._freed = 0
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
        self._freed += 1
        if not self._is_woken and any(it.timer for it in self._queues.values()):
            self._is_woken = True
            self._channel.hub.call_soon(self._wake)

    def _wake(self) -> None:
        self._is_woken = False
        for queue, it in list(self._queues.items()):
            if it.timer and not it.pauses:
                self._channel._schedule_queue(queue)  # noqa: SLF001

    def _send(self, queue: str, it: _Queue, count: int) -> None:
        request = _Request(count, self._clock(), self._freed)
        it.requests.append(request)
        it.free_since = None
        self._channel._get_async(queue, count, callback=promise(self._answered, (queue, request)))  # noqa: SLF001

    def _answered(self, queue: str, request: _Request, found: int | None = None) -> None:
        it = self._of(queue)
        it.requests.remove(request)
        it.is_full = (found or 0) >= request.count
        it.ahead = self._freed - request.freed if it.is_full else 0
        it.took_seconds = self._clock() - request.since
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
        free = self._free_slots() + min(it.ahead, spare) - sum(each.count for each in it.requests)
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

"""The threads of one batch of messages: they upload payloads, and send what waits for those."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, Queue
from typing import Any

Job = tuple[Future[Any], Callable[[], Any]]


class Threads:
    """A bounded number of threads: none before the first call, and none after ``close``.

    Calls begin in the order in which they were given, each in the context of its caller. With gevent and
    eventlet the threads are greenlets. Daemon threads: they never keep a process alive.

    Args:
        count: most threads at the same time; 0 runs each call at once, in the thread of its caller.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._jobs = Queue[Job | None]()
        self._started: list[threading.Thread] = []

    def run(self, call: Callable[[], Any]) -> Future[Any]:
        """Call a function in a thread; here, if no thread can start."""
        job = Future[Any](), _in_this_context(call)
        if len(self._started) < self._count:
            self._start()
        if self._started:
            self._jobs.put(job)
        else:
            _do(job)
        return job[0]

    def drop(self) -> None:
        """Cancel the calls that have not begun."""
        with suppress(Empty):
            while (job := self._jobs.get_nowait()) is not None:
                job[0].cancel()

    def close(self) -> None:
        """Wait for all calls, and end the threads; later calls run in their caller's. Safe to call twice."""
        self._count = 0
        started, self._started = self._started, []
        for _ in started:
            self._jobs.put(None)
        for thread in started:
            thread.join()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="claimcheck-upload", daemon=True)
        with suppress(RuntimeError):  # the limit of threads is reached, or the interpreter ends
            thread.start()
            self._started.append(thread)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(job)


def _in_this_context(call: Callable[[], Any]) -> Callable[[], Any]:
    context = copy_context()
    return lambda: context.run(call)


def _do(job: Job) -> None:
    future, call = job
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as exc:  # noqa: BLE001 - whoever waits for the call gets it
        future.set_exception(exc)
    else:
        future.set_result(result)

"""Tells once a minute how a worker's queues are: how much waits, how much is dead, and what works on it.

Messages that wait, divided by the tasks that all workers may run at once, is the backlog per worker, by which
queues are scaled. No worker knows how many others there are, so none can tell that number: each tells its own
part, and who reads the metrics divides. docs/metrics.md has the expression.

How old the oldest message is, SQS tells to nobody but CloudWatch: it is ``ApproximateAgeOfOldestMessage`` of
the namespace ``AWS/SQS``, and no attribute of a queue.
Source: SQS API Reference, GetQueueAttributes; SQS Developer Guide, "Available CloudWatch metrics for
Amazon SQS".
"""

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from celery import signals

from pipeline import log_lines, time_chain
from pipeline.metrics import DEAD_LETTERS, QUEUE_BACKLOG, WORKER_CONCURRENCY, Metric, Recorder
from pipeline.queues import QueueError, Queues

logger = log_lines.logger(__name__)

INTERVAL_SECONDS = 60.0
"""How often SQS is asked, unless ``health_seconds`` among the transport options says otherwise."""

LONGEST_SECONDS = 86_400
"""Seldomest that it may be asked."""

CLOSE_SECONDS = 1.0
"""How long a worker that stops waits for a call that is under way."""

_DEPTH = "ApproximateNumberOfMessages"
_UID = "claimcheck.health"


class Health:
    """Samples the queues that a worker consumes, on a thread of its own in the worker's main process.

    Each time it makes two calls of SQS for a queue that has a dead-letter queue, and one for another.
    It never raises; what cannot be asked is logged once, and tried again the next time.

    Args:
        app: the Celery app. Its queues are looked up each time, since a worker may be told to take on more.
        recorder: takes the numbers.
        concurrency: returns how many tasks the worker may run at once; it changes with autoscaling.
        interval_seconds: time between two samples; 0 for none at all.
    """

    def __init__(
        self, app: Any, recorder: Recorder, concurrency: Callable[[], int], interval_seconds: float
    ) -> None:
        self._app, self._recorder = app, recorder
        self._concurrency = concurrency
        self._interval_seconds = interval_seconds
        self._queues: Queues | None = None
        self._failing: set[str] = set()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, which samples at once; with an interval of 0 there is none."""
        if self._interval_seconds and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="claimcheck-health", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, and wait a moment for it."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def sample(self) -> None:
        """Record how each queue is. Never raises."""
        for queue in list(self._app.amqp.queues.consume_from):
            try:
                self._recorder.record(WORKER_CONCURRENCY, self._concurrency(), queue=queue)
                for metric, depth in self._depths(queue):
                    self._recorder.record(metric, depth, queue=queue)
                self._failing.discard(queue)
            except Exception as exc:  # noqa: BLE001 - whatever Kombu, botocore or a network raise
                self._disconnect()
                self._warn(queue, exc)

    def _depths(self, queue: str) -> Iterator[tuple[Metric, int]]:
        """Yield how many messages wait in a queue, and then in its dead-letter queue if it has one."""
        if self._queues is None:
            self._queues = Queues(self._app, self._app.connection_for_read())
        found = self._queues.find(self._queues.channel.canonical_queue_name(queue))
        if found is None:
            raise QueueError(f"there is no queue {queue}: make it as deploy/README.md says")
        yield QUEUE_BACKLOG, found.number(_DEPTH)
        if letters := self._queues.dead_letters_of(found):
            yield DEAD_LETTERS, letters.number(_DEPTH)

    def _disconnect(self) -> None:
        if self._queues is not None:
            self._queues.close()

    def _warn(self, queue: str, exc: Exception) -> None:
        if queue not in self._failing:
            logger.warning("queue's health not known [queue=%s]: %s", queue, exc, extra={"queue": queue})
        self._failing.add(queue)

    def _run(self) -> None:
        due = monotonic()
        while not self._closing.wait(max(due - monotonic(), 0.0)):
            self.sample()
            due = max(due + self._interval_seconds, monotonic())
        self._disconnect()


def health_of(worker: Any, recorder: Recorder) -> Health:
    """Return what watches a worker's queues: nothing where numbers go nowhere, or SQS is not the broker.

    Raises:
        ValueError: the transport option ``health_seconds`` is no time.
    """
    app = worker.app
    seconds = app.conf.broker_transport_options.get("health_seconds", INTERVAL_SECONDS)
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"health_seconds={seconds!r} in broker_transport_options: expected 0 to 86,400")
    is_wanted = recorder.is_heard and time_chain.scheme_of(app) == "sqs"
    return Health(app, recorder, lambda: worker.pool.num_processes, seconds if is_wanted else 0.0)


def follow(health: Health) -> None:
    """Sample from when the worker is ready until it ends. The last worker of a process wins."""
    for signal, act in ((signals.worker_ready, health.start), (signals.worker_shutdown, health.close)):
        signal.disconnect(dispatch_uid=_UID)
        signal.connect(_called(act), weak=False, dispatch_uid=_UID)


def _called(act: Callable[[], None]) -> Callable[..., None]:
    return lambda **_: act()

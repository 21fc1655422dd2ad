"""Report depth of queue and DLQ, messages in flight and worker concurrency once a minute.

Autoscaling uses the backlog per worker: waiting messages divided by the concurrency of all workers. A worker
does not know how many others there are, so each reports its own concurrency, and the metrics expression in
docs/operate/metrics.md divides.

SQS reports the age of the oldest message to CloudWatch alone, as ``ApproximateAgeOfOldestMessage`` in the
namespace ``AWS/SQS``. No attribute of a queue has it.
Source: SQS API Reference, GetQueueAttributes; SQS Developer Guide, "Available CloudWatch metrics for
Amazon SQS".
"""

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from celery import signals

from pipeline import time_chain, undo
from pipeline.metrics import Metric
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import DEAD_LETTERS, MESSAGES_IN_FLIGHT, QUEUE_BACKLOG, WORKER_CONCURRENCY
from pipeline.telemetry import log_lines
from pipeline.transport.queues import IN_FLIGHT, QueueError, Queues

logger = log_lines.logger(__name__)

INTERVAL_SECONDS = 60.0
"""Default interval; the transport option ``health_seconds`` sets another."""

LONGEST_SECONDS = 86_400
"""Longest allowed interval."""

CLOSE_SECONDS = 1.0
"""How long a stopping worker waits for a call in progress."""

_DEPTH = "ApproximateNumberOfMessages"
_UID = "claimcheck.health"


class Health:
    """Samples the queues that a worker consumes, on its own thread in the worker's main process.

    A sample makes one call of SQS for each queue, and two if the queue has a dead-letter queue.
    It never raises. A failure is logged once, and the next sample tries again.

    Args:
        app: the Celery app. Its queues are read for each sample, because remote control may add queues.
        recorder: receives the numbers.
        concurrency: returns how many tasks the worker may run at once; it changes with autoscaling.
        interval_seconds: time between two samples; 0 switches sampling off.
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
        """Start the thread, which samples at once; do nothing if the interval is 0."""
        if self._interval_seconds and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="claimcheck-health", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the thread, and wait ``CLOSE_SECONDS`` for it."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def sample(self) -> None:
        """Record depth and concurrency of each queue. Never raises."""
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
        """Yield the depth of a queue, and then of its dead-letter queue if it has one."""
        if self._queues is None:
            self._queues = Queues(self._app, self._app.connection_for_read())
        found = self._queues.find(self._queues.channel.canonical_queue_name(queue))
        if found is None:
            raise QueueError(f"there is no queue {queue}: make it as deploy/README.md says")
        yield QUEUE_BACKLOG, found.number(_DEPTH)
        yield MESSAGES_IN_FLIGHT, found.number(IN_FLIGHT)
        if dead := self._queues.dead_letters_of(found):
            yield DEAD_LETTERS, dead.number(_DEPTH)

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
    """Return the sampler of a worker's queues. It is off without a metric sink, or without SQS as broker.

    Raises:
        ValueError: the transport option ``health_seconds`` is no time.
    """
    app = worker.app
    seconds = app.conf.broker_transport_options.get("health_seconds", INTERVAL_SECONDS)
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"health_seconds={seconds!r} in broker_transport_options: expected 0 to 86,400")
    is_wanted = recorder.is_emitting and time_chain.scheme_of(app) == "sqs"
    return Health(app, recorder, lambda: worker.pool.num_processes, seconds if is_wanted else 0.0)


def follow(health: Health) -> None:
    """Sample from ``worker_ready`` to ``worker_shutdown``. The last worker of a process wins."""
    for signal, act in ((signals.worker_ready, health.start), (signals.worker_shutdown, health.close)):
        undo.connect(signal, _called(act), _UID)


def _called(act: Callable[[], None]) -> Callable[..., None]:
    return lambda **_: act()

"""Tells once a minute how a worker's queues are: how much waits, how much is dead, and what works on it.

Messages that wait, divided by the tasks that all workers may run at once, is the backlog per worker, by which
queues are scaled. No worker knows how many others there are, so none can tell that number: each tells its own
part, and who reads the metrics divides. docs/metrics.md has the expression.

How old the oldest message is, SQS tells to nobody but CloudWatch: it is ``ApproximateAgeOfOldestMessage`` of
the namespace ``AWS/SQS``, and no attribute of a queue.
Source: SQS API Reference, GetQueueAttributes; SQS Developer Guide, "Available CloudWatch metrics for
Amazon SQS".
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from celery import signals

from pipeline import timechain
from pipeline.metrics import DEAD_LETTERS, QUEUE_BACKLOG, WORKER_CONCURRENCY, Metric, Recorder

logger = logging.getLogger(__name__)

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
        self._depths = _Depths(app)
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
                for metric, depth in self._depths.of(queue):
                    self._recorder.record(metric, depth, queue=queue)
                self._failing.discard(queue)
            except Exception as exc:  # noqa: BLE001 - whatever Kombu, botocore or a network raise
                self._depths.close()
                self._warn(queue, exc)

    def _warn(self, queue: str, exc: Exception) -> None:
        if queue not in self._failing:
            logger.warning("queue's health not known [queue=%s]: %s", queue, exc, extra={"queue": queue})
        self._failing.add(queue)

    def _run(self) -> None:
        due = monotonic()
        while not self._closing.wait(max(due - monotonic(), 0.0)):
            self.sample()
            due = max(due + self._interval_seconds, monotonic())
        self._depths.close()


class _Depths:
    """Asks SQS over a connection of its own: Kombu's channels are for one thread. Used by one thread."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._channel: Any = None
        self._dead_urls: dict[str, str] = {}

    def of(self, queue: str) -> Iterator[tuple[Metric, int]]:
        """Yield how many messages wait in a queue, and then in its dead-letter queue if it has one.

        Raises:
            Exception: SQS refuses us or does not answer, or there is no such queue.
        """
        channel = self._open()
        client = channel.sqs(queue=channel.canonical_queue_name(queue))  # renews credentials where need be
        url = channel._resolve_queue_url(queue)  # noqa: SLF001 - Kombu's, and the only one that makes no queue
        attributes = _attributes(client, url, _DEPTH, "RedrivePolicy")
        yield QUEUE_BACKLOG, int(attributes[_DEPTH])
        policy = json.loads(attributes.get("RedrivePolicy", "{}"))
        if arn := policy.get("deadLetterTargetArn"):
            yield DEAD_LETTERS, int(_attributes(client, self._dead_url(client, arn), _DEPTH)[_DEPTH])

    def close(self) -> None:
        """Forget the connection; the next question opens another."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            connection.release()

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = self._app.connection_for_read()
            self._connection.connect()  # default_channel would try for ever
        if self._channel is None:
            self._channel = self._connection.channel()
        return self._channel

    def _dead_url(self, client: Any, arn: str) -> str:
        if arn not in self._dead_urls:
            *_, account, name = arn.split(":")
            answer = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
            self._dead_urls[arn] = answer["QueueUrl"]
        return self._dead_urls[arn]


def _attributes(client: Any, url: str, *names: str) -> dict[str, str]:
    attributes: dict[str, str] = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return attributes


def health_of(worker: Any, recorder: Recorder) -> Health:
    """Return what watches a worker's queues: nothing where numbers go nowhere, or SQS is not the broker.

    Raises:
        ValueError: the transport option ``health_seconds`` is no time.
    """
    app = worker.app
    seconds = app.conf.broker_transport_options.get("health_seconds", INTERVAL_SECONDS)
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"health_seconds={seconds!r} in broker_transport_options: expected 0 to 86,400")
    is_wanted = recorder.is_heard and timechain.scheme_of(app) == "sqs"
    return Health(app, recorder, lambda: worker.pool.num_processes, seconds if is_wanted else 0.0)


def follow(health: Health) -> None:
    """Sample from when the worker is ready until it ends. The last worker of a process wins."""
    for signal, act in ((signals.worker_ready, health.start), (signals.worker_shutdown, health.close)):
        signal.disconnect(dispatch_uid=_UID)
        signal.connect(_called(act), weak=False, dispatch_uid=_UID)


def _called(act: Callable[[], None]) -> Callable[..., None]:
    return lambda **_: act()

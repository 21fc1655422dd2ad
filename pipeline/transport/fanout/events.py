"""Collects events of tasks and workers, and publishes several in one message, on a thread.

Celery publishes events nearly one by one, three for a task, and waits for each. Here they wait up to two
seconds for others, and travel as one list, which is how Celery itself sends several. Running or publishing
a task never waits for SNS, and never fails because of it: an outage loses events, not tasks.

While no queue is subscribed nothing is published; SNS is asked once a minute whether that has changed, and
at once when a worker receives a command, because listeners begin with one.
Source: celery 5.7.0, ``events/receiver.py`` (``_receive``, ``wakeup_workers``), ``events/dispatcher.py``.
"""

import atexit
import math
import random
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, ClassVar, NamedTuple

from kombu.utils.json import dumps
from kombu.utils.uuid import uuid

from pipeline.aws.limits import SNS_MESSAGE_LIMIT_BYTES
from pipeline.telemetry import log_lines
from pipeline.transport.fanout.topics import Topic
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.sqs_errors import FAILURES

logger = log_lines.logger(__name__)

GATHER_SECONDS = 2.0
"""Default of the transport option ``event_gather_seconds``."""
CALL_BYTES = 49_152
"""How much is collected for one call: in its envelope that is about the 64 KiB that SNS and SQS bill as one
request. Source: Amazon SNS pricing, "Standard topics"."""
LIMIT_COUNT = 10_000
"""How many events wait at most; beyond that the oldest are dropped."""
PAUSE_SECONDS = 5.0
PAUSE_LIMIT_SECONDS = 300.0
"""First and longest pause after a failure."""
AUDIENCE_SECONDS = 300.0
NO_AUDIENCE_SECONDS = 60.0
"""How long the answer is cached that a topic has listeners, and that it has none."""
CLOSE_SECONDS = 3.0
IDLE_SECONDS = 30.0


class Event(NamedTuple):
    """What Celery publishes at once: an event, or a list of them."""

    topic: Topic
    envelope: dict[str, Any]
    """Kombu's, with the body as text."""

    @property
    def size_bytes(self) -> int:
        """Size of the body."""
        return len(self.envelope["body"])

    def joins(self, batch: "list[Event]") -> bool:
        """Return whether it may travel in the envelope of the first of a batch."""
        first = batch[0]
        same = ("content-type", "content-encoding", "headers")
        return (
            self.topic is first.topic
            and self.envelope.get("content-type") == "application/json"
            and all(self.envelope.get(name) == first.envelope.get(name) for name in same)
            and sum(each.size_bytes for each in batch) + self.size_bytes <= CALL_BYTES
        )


def together(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield batches of events that travel in one message each, in their order."""
    batch: list[Event] = []
    for event in events:
        if batch and not event.joins(batch):
            yield batch
            batch = []
        batch.append(event)
    if batch:
        yield batch


def message_of(batch: list[Event]) -> str:
    """Return the message of a batch: the first one's envelope, around a list of all events."""
    envelope = batch[0].envelope
    if len(batch) > 1:
        bodies = (each.envelope["body"].strip() for each in batch)
        inner = (body[1:-1] if body.startswith("[") else body for body in bodies)
        properties = {**envelope["properties"], "delivery_tag": uuid()}
        envelope = {**envelope, "body": f"[{','.join(filter(None, inner))}]", "properties": properties}
    return str(dumps(envelope))


class Audience:
    """Cached answer of SNS whether a topic has subscribers."""

    _called: ClassVar[float] = -math.inf

    def __init__(self) -> None:
        self._is_there = True
        self._ask_at = 0.0

    @classmethod
    def expect(cls) -> None:
        """Assume a listener on every connection: a worker has received a command."""
        cls._called = monotonic()

    def listens(self, topic: Topic) -> bool:
        """Return whether it is worth while to publish. Asks SNS now and then; if it does not say, it is."""
        now = monotonic()
        if now < self._called + AUDIENCE_SECONDS:
            return True
        if now >= self._ask_at:
            try:
                self._is_there = topic.has_listeners()
            except FAILURES:
                self._is_there = True
            believed = AUDIENCE_SECONDS if self._is_there else NO_AUDIENCE_SECONDS
            self._ask_at = now + believed * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        return self._is_there


class Outbox:
    """Collects events of one connection, and publishes them on a thread that starts with the first.

    Args:
        gather_seconds: how long an event waits for others.
    """

    def __init__(self, gather_seconds: float = GATHER_SECONDS) -> None:
        self._gather_seconds = gather_seconds
        self._waiting: deque[Event] = deque(maxlen=LIMIT_COUNT)
        self._waiting_bytes = 0
        self._audience = Audience()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self._is_busy = False
        self._failures = 0
        self._dropped_count = 0

    def add(self, event: Event) -> None:
        """Take an event; returns at once, from any thread, and never raises."""
        with self._changed:
            self._is_closing = False
            self._dropped_count += len(self._waiting) == LIMIT_COUNT
            self._waiting.append(event)
            self._waiting_bytes += event.size_bytes
            if self._thread is None or not self._thread.is_alive():
                self._start()
            elif len(self._waiting) == 1 or self._is_full():
                self._changed.notify_all()

    def close(self) -> None:
        """Publish what waits, unless SNS takes long."""
        atexit.unregister(self.close)
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            if self._thread is not None and self._thread.is_alive():
                self._changed.wait_for(lambda: not self._waiting and not self._is_busy, CLOSE_SECONDS)

    def _is_full(self) -> bool:
        return self._waiting_bytes >= CALL_BYTES

    def _start(self) -> None:
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._run, name="claimcheck-events", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while events := self._next():
            try:
                self._publish_all(events)
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()

    def _next(self) -> list[Event]:
        """Wait for an event, and for others to join it; nothing for a long time ends the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing, IDLE_SECONDS)
            if not self._waiting:
                self._thread = None
                return []
            self._changed.wait_for(lambda: self._is_closing or self._is_full(), self._gather_seconds)
            events = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._is_busy = True
            return events

    def _publish_all(self, events: list[Event]) -> None:
        for batch in together(events):
            try:
                self._publish(batch)
            except Exception as exc:  # noqa: BLE001 - whatever it is, it must not end this thread
                self._failed(batch, exc)
            else:
                self._succeeded()

    def _publish(self, batch: list[Event]) -> None:
        topic, message = batch[0].topic, message_of(batch)
        if len(message.encode()) > SNS_MESSAGE_LIMIT_BYTES:
            self._dropped_count += len(batch)
            logger.warning("event dropped: its %d characters are more than SNS takes", len(message))
        elif self._audience.listens(topic):
            topic.publish(message)

    def _failed(self, batch: list[Event], exc: Exception) -> None:
        """Drop a batch, and leave SNS alone for a while; what comes meanwhile waits."""
        self._dropped_count += len(batch)
        self._failures += 1
        warn_once("events not published", exc)
        longest = min(PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), PAUSE_LIMIT_SECONDS)
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, longest * random.uniform(0.5, 1))  # noqa: S311

    def _succeeded(self) -> None:
        if self._failures:
            logger.info("events are published again; dropped so far: %d", self._dropped_count)
        self._failures = 0

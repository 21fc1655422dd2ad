"""How messages get into a batch: the producer that Celery shares among a group, and Kombu's own ``_put``.

Celery sends all tasks of a group, chunks or a chord's header through one producer, and gives it back to its
pool afterwards: that is where a batch ends. Kombu's ``_put`` makes each message; here it is called on a
channel whose client keeps it. Source: celery 5.7.0, ``canvas.py`` (``group._apply_tasks``); kombu 5.7.0,
``pools.py``, ``transport/SQS/__init__.py`` (``Channel._put``).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from kombu import messaging, pools

from pipeline.transport.send.batch import Batch
from pipeline.transport.send.entries import Entry, Parcel, Publication

_parcel: ContextVar[Parcel | None] = ContextVar("parcel", default=None)


@contextmanager
def collecting(batch: Batch | None, publication: Publication) -> Iterator[Parcel]:
    """Put the messages of a publication into a batch; without one, they are sent at once."""
    parcel = Parcel(publication, batch.add if batch is not None else None)
    token = _parcel.set(parcel)
    try:
        with nullcontext() if batch is None else batch.publishing():
            yield parcel
    finally:
        _parcel.reset(token)


@dataclass(frozen=True)
class _Again:
    """A publication of a message that was received: its payload is stored, and its queue is known."""

    task_id: str
    queue: str = ""
    upload: None = None

    def share(self, queues_count: int) -> bool:  # noqa: ARG002 - of the protocol
        """Return that nothing was prepared."""
        return False


@contextmanager
def making(task_id: str) -> Iterator[list[Entry]]:
    """Keep a task's message that is published in a ``with`` block, and do not send it."""
    made: list[Entry] = []
    token = _parcel.set(Parcel(_Again(task_id), made.append))
    try:
        yield made
    finally:
        _parcel.reset(token)


def is_publishing_task() -> bool:
    """Say whether a task is being published in this thread or greenlet."""
    parcel = _parcel.get()
    return parcel is not None and bool(parcel.publication.task_id)


def parcel_of(message: Mapping[str, Any]) -> Parcel | None:
    """Return the parcel in progress that a message belongs to, or ``None`` if it is no part of one.

    Celery sends its ``task-sent`` event together with a task: that has no task's id. In protocol 1 the id is
    in the properties alone. Source: celery 5.7.0, ``app/amqp.py`` (``as_task_v1``).
    """
    parcel = _parcel.get()
    headers, properties = message.get("headers") or {}, message.get("properties") or {}
    task_id = headers.get("id") or properties.get("correlation_id")
    return parcel if parcel is not None and task_id == parcel.publication.task_id else None


class Collector:
    """A channel as ``_put`` sees it: the real one, but with a client that collects."""

    def __init__(self, channel: Any, parcel: Parcel) -> None:
        self._channel = channel
        self._parcel = parcel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def sqs(self, queue: str | None = None) -> "_Client":
        """Return the client for a queue, by SQS's name."""
        return _Client(self._channel.sqs(queue=queue), self._parcel)


class _Client:
    def __init__(self, client: Any, parcel: Parcel) -> None:
        self._client = client
        self._parcel = parcel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_message(self, **options: Any) -> None:
        self._parcel.add(self._client, options)


class Producer(messaging.Producer):
    """A producer of the pool. What it has collected is sent before it goes back there."""

    _collected: Batch | None = None

    def collected(self, new_batch: Callable[[], Batch]) -> Batch:
        """Return the batch of this use of the producer."""
        if self._collected is None:
            self._collected = new_batch()
        return self._collected

    def send_collected(self, leaving: BaseException | None = None) -> None:
        """Send what was collected; see :meth:`Batch.close`."""
        batch, self._collected = self._collected, None
        if batch is not None:
            batch.close(leaving)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            self.send_collected(exc_val)
        finally:
            super().__exit__(exc_type, exc_val, exc_tb)


class ProducerPool(pools.ProducerPool):
    """Producers that collect. One may be given back without a ``with`` block, too."""

    Producer = Producer

    def release(self, resource: Any) -> None:
        """Take a producer back."""
        try:
            resource.send_collected()
        finally:
            super().release(resource)


class Producers(pools.PoolGroup):
    """Our pools by connection, beside Kombu's own and on the same connections."""

    def create(self, connection: Any, limit: int | None) -> ProducerPool:
        """Make the pool of a connection."""
        return ProducerPool(pools.connections[connection], limit=limit)


producers = pools.register_group(Producers(limit=pools.use_global_limit))

"""Reads queue depths, the store and the workers for ``pipeline top``, one reading at a time.

No message is received, and nothing is changed except the reply queue of Celery's remote control. Requests are
counted, because SQS and S3 bill them.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from time import monotonic
from typing import Any

from pipeline.aws.limits import S3_LIST_COUNT
from pipeline.claimcheck.keys import PAYLOADS
from pipeline.stores.protocol import Store
from pipeline.transport.queues import Queue, Queues

COUNTS = ("", "NotVisible", "Delayed")
"""Suffixes of SQS's ``ApproximateNumberOfMessages…``: waiting, in flight, delayed."""

RATE_SECONDS = 60.0
"""Window of a rate: SQS's numbers are approximate, and consistent within a minute. Source: SQS
API Reference, GetQueueAttributes."""

LISTED_OBJECTS = 10 * S3_LIST_COUNT
"""Maximum of objects listed: a full listing of a million payloads takes a thousand calls."""

LISTING_SECONDS = 60.0
"""Interval of listings: ten calls a minute cost $0.07 a day."""

WORKERS_SECONDS = 10.0
"""Interval of requests to workers."""

REPLY_SECONDS = 2.0
"""Timeout of their replies; over SQS they take some tenths of a second."""


@dataclass(frozen=True, slots=True)
class Depth:
    """Depth of one queue. All numbers are approximate."""

    name: str
    is_there: bool = True
    waiting: int = 0
    in_flight: int = 0
    delayed: int = 0
    dead: int | None = None
    """Messages in its dead-letter queue; None if it has none."""
    dead_name: str = ""
    change_per_second: float | None = None
    """Growth of the backlog; None until there are two readings."""

    @property
    def backlog(self) -> int:
        """All messages of the queue: waiting, in flight and delayed."""
        return self.waiting + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True)
class Stored:
    """What a listing of the payloads shows."""

    objects: int
    size_bytes: int
    is_all: bool
    """Whether the listing was complete; otherwise the numbers are lower bounds."""
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers that answered remote control."""

    count: int
    slots: int
    """Tasks that they can run at once."""
    started: int
    """Tasks that they have started since the first reading, by their own count."""
    started_per_second: float | None


class Rate:
    """The slope of a number over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, value: int, now: float) -> float | None:
        """Add a value with its time in seconds, and return the change per second; None at first."""
        self._seen.append((now, value))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:  # noqa: PLR2004 - a slope needs two
            self._seen.popleft()
        then, before = self._seen[0]
        return (value - before) / (now - then) if now > then else None


class QueueReader:
    """Reads the depths of an app's queues and their dead-letter queues. For one thread.

    Raises:
        ValueError: the app's broker is not SQS.
    """

    def __init__(self, app: Any) -> None:
        self._queues = Queues(app)
        self._dead_letter_queues: dict[str, Queue | None] = {}
        self._depths: dict[str, int] = {}
        self._rates: dict[str, Rate] = {}
        self.arrived = self.gone = 0
        """Growth and shrinkage of backlogs since the first reading: lower bounds of messages sent and
        deleted, because messages that arrive and go between two readings are not seen."""

    @property
    def calls(self) -> int:
        """Requests to SQS so far."""
        return self._queues.calls

    def __call__(self) -> list[Depth]:
        """Read all depths. An error closes the connection, so that the next reading opens a new one.

        Raises:
            QueueError: SQS denied the call or did not answer.
        """
        try:
            self._dead_letter_queues.clear()
            return [self._depth(name) for name in self._queues.names()]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._queues.close()

    def _depth(self, name: str) -> Depth:
        queue = self._queues.find(name)
        if queue is None:
            return Depth(name, is_there=False)
        dead_letters = self._dead_letters_of(queue)
        waiting, in_flight, delayed = (queue.number(f"ApproximateNumberOfMessages{each}") for each in COUNTS)
        return Depth(
            name=name,
            waiting=waiting,
            in_flight=in_flight,
            delayed=delayed,
            dead=dead_letters.depth if dead_letters else None,
            dead_name=dead_letters.name if dead_letters else "",
            change_per_second=self._change(name, queue.depth),
        )

    def _dead_letters_of(self, queue: Queue) -> Queue | None:
        """Read a dead-letter queue once in each reading: several queues may share it."""
        arn = queue.dead_letter_arn
        if arn not in self._dead_letter_queues:
            self._dead_letter_queues[arn] = self._queues.dead_letters_of(queue)
        return self._dead_letter_queues[arn]

    def _change(self, name: str, backlog: int) -> float | None:
        grown = backlog - self._depths.get(name, backlog)
        self._depths[name] = backlog
        self.arrived += max(grown, 0)
        self.gone += max(-grown, 0)
        return self._rates.setdefault(name, Rate()).of(backlog, monotonic())


class StoreReader:
    """Lists the payloads of a store, up to a limit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = 0
        """Pages listed so far."""

    def __call__(self) -> Stored:
        """List payloads in the order of their keys: those of random shards, so a sample if there are more.

        Raises:
            StoreError: the store denied the request or did not answer.
        """
        objects = size_bytes = 0
        oldest: datetime | None = None
        for stored in islice(self._store.list(PAYLOADS), LISTED_OBJECTS):
            objects, size_bytes = objects + 1, size_bytes + stored.size_bytes
            oldest = min(oldest or stored.modified, stored.modified)
        self.calls += max(-(-objects // S3_LIST_COUNT), 1)
        return Stored(objects, size_bytes, objects < LISTED_OBJECTS, oldest)


class WorkerReader:
    """Reads from an app's workers how many tasks they have started, if the broker supports remote control.

    For one thread, and with one connection: each connection has a reply queue, which SQS is slow to create.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._totals: dict[str, int] = {}
        self._started = 0
        self._rate = Rate()

    def __call__(self) -> Workers | None:
        """Read the workers; None without remote control.

        Source: celery 5.7.0, ``worker/consumer/control.py``.
        """
        if not self._app.conf.worker_enable_remote_control:
            return None
        try:
            return self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection, which deletes the reply queue."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def _read(self) -> Workers | None:
        if self._connection is None:
            self._connection = self._app.connection_for_write()
        if not self._connection.supports_exchange_type("fanout"):
            return None
        self._connection.connect()  # default_channel would retry for ever
        inspect = self._app.control.inspect(connection=self._connection, timeout=REPLY_SECONDS)
        return self._count(inspect.stats() or {})

    def _count(self, answers: Mapping[str, Mapping[str, Any]]) -> Workers:
        """Add what each worker has started since its last answer; a new worker counts from now."""
        for name, stats in answers.items():
            total = sum((stats.get("total") or {}).values())
            before = self._totals.get(name, total)
            self._started += total - before if total >= before else total  # it was restarted
            self._totals[name] = total
        slots = sum(int((stats.get("pool") or {}).get("max-concurrency") or 0) for stats in answers.values())
        return Workers(len(answers), slots, self._started, self._rate.of(self._started, monotonic()))


def totals(depths: Iterable[Depth]) -> Depth:
    """Add queues up; a dead-letter queue that several share counts once."""
    found: Sequence[Depth] = [depth for depth in depths if depth.is_there]
    changes = [depth.change_per_second for depth in found if depth.change_per_second is not None]
    dead = {depth.dead_name: depth.dead for depth in found if depth.dead is not None}
    return Depth(
        name="total",
        waiting=sum(depth.waiting for depth in found),
        in_flight=sum(depth.in_flight for depth in found),
        delayed=sum(depth.delayed for depth in found),
        dead=sum(dead.values()) if dead else None,
        change_per_second=sum(changes) if changes else None,
    )

"""What ``pipeline top`` looks at: queues, store and workers, one look at a time.

Nothing is received, changed or made, but for the reply queue of Celery's remote control. Requests are
counted, as SQS and S3 bill for them.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from time import monotonic
from typing import Any

from pipeline.aws.limits import S3_LIST_COUNT
from pipeline.stores.protocol import Store
from pipeline.transport.queues import Queue, Queues

COUNTS = ("", "NotVisible", "Delayed")
"""Waiting, in flight, delayed: what ends SQS's ``ApproximateNumberOfMessages…``."""

RATE_SECONDS = 60.0
"""A rate is that of the last minute: SQS's numbers are approximate, and settle within a minute. Source: SQS
API Reference, GetQueueAttributes."""

LISTED_OBJECTS = 10 * S3_LIST_COUNT
"""How much of the store is listed: a full listing of a million payloads would be a thousand calls."""

LISTING_SECONDS = 60.0
"""How often: ten calls a minute are $0.07 a day."""

WORKERS_SECONDS = 10.0
"""How often workers are asked."""

REPLY_SECONDS = 2.0
"""How long their replies are waited for; over SQS they take some tenths of a second."""


@dataclass(frozen=True, slots=True)
class Depth:
    """One queue as SQS states it. All numbers are approximate."""

    name: str
    is_there: bool = True
    waiting: int = 0
    in_flight: int = 0
    delayed: int = 0
    dead: int | None = None
    """How many messages its dead-letter queue holds; None if it has none."""
    dead_name: str = ""
    change_per_second: float | None = None
    """How fast the backlog grows; None until there are two looks."""

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
    """Whether it was listed to its end; the numbers are lower bounds otherwise."""
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers that answer to remote control."""

    count: int
    slots: int
    """How many tasks they can run at once."""
    started: int
    """Tasks that they have begun since the first look, by their own count."""
    started_per_second: float | None


class Rate:
    """The slope of a number over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, value: int, now: float) -> float | None:
        """Note a value at a time, in seconds, and return the change per second; None at first."""
        self._seen.append((now, value))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:  # noqa: PLR2004 - a slope needs two
            self._seen.popleft()
        then, before = self._seen[0]
        return (value - before) / (now - then) if now > then else None


class QueueLook:
    """Reads the depths of an app's queues and their dead-letter queues. For one thread.

    Raises:
        ValueError: the app's broker is not SQS.
    """

    def __init__(self, app: Any) -> None:
        self._queues = Queues(app)
        self._letters: dict[str, Queue | None] = {}
        self._depths: dict[str, int] = {}
        self._rates: dict[str, Rate] = {}
        self.arrived = self.gone = 0
        """By how much backlogs have grown and shrunk since the first look: at least so much was sent, and
        deleted, as what comes and goes between two looks is not seen."""

    @property
    def calls(self) -> int:
        """Requests of SQS so far."""
        return self._queues.calls

    def __call__(self) -> list[Depth]:
        """Look. An error closes the connection, so that the next look starts anew.

        Raises:
            QueueError: SQS denies access or does not answer.
        """
        try:
            self._letters.clear()
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
        letters = self._dead_letters_of(queue)
        waiting, in_flight, delayed = (queue.number(f"ApproximateNumberOfMessages{each}") for each in COUNTS)
        return Depth(
            name=name,
            waiting=waiting,
            in_flight=in_flight,
            delayed=delayed,
            dead=letters.depth if letters else None,
            dead_name=letters.name if letters else "",
            change_per_second=self._change(name, queue.depth),
        )

    def _dead_letters_of(self, queue: Queue) -> Queue | None:
        """Read a dead-letter queue, once in each look: several queues may share it."""
        arn = queue.dead_letter_arn
        if arn not in self._letters:
            self._letters[arn] = self._queues.dead_letters_of(queue)
        return self._letters[arn]

    def _change(self, name: str, backlog: int) -> float | None:
        grown = backlog - self._depths.get(name, backlog)
        self._depths[name] = backlog
        self.arrived += max(grown, 0)
        self.gone += max(-grown, 0)
        return self._rates.setdefault(name, Rate()).of(backlog, monotonic())


class StoreLook:
    """Lists the payloads of a store, up to a limit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = 0
        """Pages listed so far."""

    def __call__(self) -> Stored:
        """List; keys begin with their day, so what is listed is the oldest.

        Raises:
            StoreError: the store denies access or does not answer.
        """
        objects = size_bytes = 0
        oldest: datetime | None = None
        for stored in islice(self._store.list("v1/"), LISTED_OBJECTS):
            objects, size_bytes = objects + 1, size_bytes + stored.size_bytes
            oldest = min(oldest or stored.modified, stored.modified)
        self.calls += max(-(-objects // S3_LIST_COUNT), 1)
        return Stored(objects, size_bytes, objects < LISTED_OBJECTS, oldest)


class WorkerLook:
    """Asks an app's workers how many tasks they have begun, where the broker carries such questions.

    For one thread, and with one connection: each has a reply queue, which SQS is slow to make.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._connection: Any = None
        self._totals: dict[str, int] = {}
        self._started = 0
        self._rate = Rate()

    def __call__(self) -> Workers | None:
        """Ask; None where nobody can be asked. Source: celery 5.7.0, ``worker/consumer/control.py``."""
        if not self._app.conf.worker_enable_remote_control:
            return None
        try:
            return self._ask()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; that removes the reply queue."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def _ask(self) -> Workers | None:
        if self._connection is None:
            self._connection = self._app.connection_for_write()
        if not self._connection.supports_exchange_type("fanout"):
            return None
        self._connection.connect()  # default_channel would try for ever
        inspect = self._app.control.inspect(connection=self._connection, timeout=REPLY_SECONDS)
        return self._count(inspect.stats() or {})

    def _count(self, answers: Mapping[str, Mapping[str, Any]]) -> Workers:
        """Add what each worker has begun since it last answered; one that is new began at its count."""
        for name, stats in answers.items():
            total = sum((stats.get("total") or {}).values())
            before = self._totals.get(name, total)
            self._started += total - before if total >= before else total  # it was started anew
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

"""All that ``pipeline top`` knows at one moment, with how old it is and what went wrong."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from pipeline.admin.top.looks import (
    LISTING_SECONDS,
    WORKERS_SECONDS,
    Depth,
    QueueLook,
    Stored,
    StoreLook,
    WorkerLook,
    Workers,
    totals,
)
from pipeline.admin.top.repeated import Repeated
from pipeline.admin.top.spending import Spending, of_view
from pipeline.stores.protocol import Store

FIRST_SECONDS = 5.0
"""How long the first picture waits."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a look went."""

    age_seconds: float | None
    """How old the numbers are; None if there are none yet."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One picture. What is None is not known, or not yet."""

    app: str
    at: datetime
    up_seconds: float
    interval_seconds: float
    queues: Sequence[Depth] | None
    workers: Workers | None
    store: Stored | None
    spending: Spending
    sqs_calls: int
    listed_pages: int
    looks: dict[str, Seen]
    """Of ``queues``, ``workers`` and ``store``."""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; times are in seconds, sizes in bytes, costs in US dollars."""
        shown = asdict(self)
        shown["totals"] = asdict(totals(self.queues)) if self.queues is not None else None
        return shown


class Watch:
    """Looks at an app's queues, workers and store until it is stopped.

    Raises:
        ValueError: the app's broker is not SQS.
    """

    def __init__(self, app: Any, store: Store, interval_seconds: float) -> None:
        self._app = app
        self._interval = interval_seconds
        self._queue_look = QueueLook(app)
        self._store_look = StoreLook(store)
        self._queues = Repeated(self._queue_look, interval_seconds, self._queue_look.close)
        self._store = Repeated(self._store_look, max(LISTING_SECONDS, interval_seconds))
        workers = WorkerLook(app)
        self._workers = Repeated(workers, max(WORKERS_SECONDS, interval_seconds), workers.close)

    def start(self) -> None:
        """Begin to look, on three threads."""
        self._began = monotonic()
        for look in self._all():
            look.start()

    def first(self) -> None:
        """Wait a little for the first answers."""
        for look in self._all():
            look.first(max(self._began + FIRST_SECONDS - monotonic(), 0.0))

    def first_of_queues(self) -> None:
        """Wait until SQS has answered or failed. Ctrl-C interrupts it."""
        while not self._queues.first(0.5):
            pass

    def stop(self) -> None:
        """Stop; returns within seconds, whatever SQS does."""
        for look in self._all():
            look.stop()

    def snapshot(self) -> Snapshot:
        """Return what is known now. Does no I/O."""
        looks: dict[str, Repeated[Any]] = {
            "queues": self._queues,
            "workers": self._workers,
            "store": self._store,
        }
        return Snapshot(
            app=str(self._app.main),
            at=datetime.now(UTC),
            up_seconds=monotonic() - self._began,
            interval_seconds=self._interval,
            queues=self._queues.answer,
            workers=self._workers.answer,
            store=self._store.answer,
            spending=self._spending(),
            sqs_calls=self._queue_look.calls,
            listed_pages=self._store_look.calls,
            looks={name: _seen(look) for name, look in looks.items()},
        )

    def _spending(self) -> Spending:
        view = of_view(self._queue_look.calls, self._store_look.calls)
        workers = self._workers.answer
        if workers is not None and workers.count:
            return Spending.of_tasks(workers.started, view)
        return Spending.of_messages(self._queue_look.arrived, self._queue_look.gone, view)

    def _all(self) -> tuple[Repeated[Any], ...]:
        return self._queues, self._workers, self._store


def _seen(look: Repeated[Any]) -> Seen:
    age = None if look.answered is None else monotonic() - look.answered
    return Seen(age, look.error)

"""Polls queues, workers and store, and returns snapshots: numbers with their age and last error."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from pipeline.admin.top.cost import CostEstimate, of_requests
from pipeline.admin.top.poller import Poller
from pipeline.admin.top.readers import (
    LISTING_SECONDS,
    WORKERS_SECONDS,
    Depth,
    QueueReader,
    Stored,
    StoreReader,
    WorkerReader,
    Workers,
    totals,
)
from pipeline.stores.protocol import Store

FIRST_SECONDS = 5.0
"""How long the first snapshot waits for answers."""


@dataclass(frozen=True, slots=True)
class PollStatus:
    """Age and error of the last poll."""

    age_seconds: float | None
    """Age of the numbers; None if there are none yet."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All numbers at one moment. None means unknown, or not known yet."""

    app: str
    at: datetime
    up_seconds: float
    interval_seconds: float
    queues: Sequence[Depth] | None
    workers: Workers | None
    store: Stored | None
    cost: CostEstimate
    sqs_calls: int
    listed_pages: int
    polls: dict[str, PollStatus]
    """Status of ``queues``, ``workers`` and ``store``."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values: times in seconds, sizes in bytes, costs in US dollars."""
        shown = asdict(self)
        shown["totals"] = asdict(totals(self.queues)) if self.queues is not None else None
        return shown


class Monitor:
    """Polls an app's queues, workers and store until it is stopped.

    Raises:
        ValueError: the app's broker is not SQS.
    """

    def __init__(self, app: Any, store: Store, interval_seconds: float) -> None:
        self._app = app
        self._interval = interval_seconds
        self._queue_reader = QueueReader(app)
        self._store_reader = StoreReader(store)
        self._queues = Poller(self._queue_reader, interval_seconds, self._queue_reader.close)
        self._store = Poller(self._store_reader, max(LISTING_SECONDS, interval_seconds))
        workers = WorkerReader(app)
        self._workers = Poller(workers, max(WORKERS_SECONDS, interval_seconds), workers.close)

    def start(self) -> None:
        """Start polling, on three threads."""
        self._began = monotonic()
        for poller in self._all():
            poller.start()

    def wait_for_first(self) -> None:
        """Wait a few seconds for the first answers."""
        for poller in self._all():
            poller.wait_for_first(max(self._began + FIRST_SECONDS - monotonic(), 0.0))

    def wait_for_queues(self) -> None:
        """Wait until SQS has answered or failed. Ctrl-C interrupts the wait."""
        while not self._queues.wait_for_first(0.5):
            pass

    def stop(self) -> None:
        """Stop polling. Returns within seconds, even if SQS does not answer."""
        for poller in self._all():
            poller.stop()

    def snapshot(self) -> Snapshot:
        """Return the current snapshot. Does no I/O."""
        polls: dict[str, Poller[Any]] = {
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
            cost=self._spending(),
            sqs_calls=self._queue_reader.calls,
            listed_pages=self._store_reader.calls,
            polls={name: _status(poller) for name, poller in polls.items()},
        )

    def _spending(self) -> CostEstimate:
        view = of_requests(self._queue_reader.calls, self._store_reader.calls)
        workers = self._workers.answer
        if workers is not None and workers.count:
            return CostEstimate.of_tasks(workers.started, view)
        return CostEstimate.of_messages(self._queue_reader.arrived, self._queue_reader.gone, view)

    def _all(self) -> tuple[Poller[Any], ...]:
        return self._queues, self._workers, self._store


def _status(poller: Poller[Any]) -> PollStatus:
    age = None if poller.answered is None else monotonic() - poller.answered
    return PollStatus(age, poller.error)

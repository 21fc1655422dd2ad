"""Collects metric values and emits them to a sink in the background.

Values are kept as *value -> count* per metric, queue and task, and one daemon thread per process emits them.
Metrics never break a task: recording neither raises nor waits for a sink, memory is bounded, and data that a
sink rejects are counted in ``DataDropped``.
"""

import atexit
import os
import queue as queues
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, runtime_checkable
from weakref import WeakSet

from pipeline.metrics.table import DATA_DROPPED, Metric, Unit
from pipeline.telemetry import log_lines

logger = log_lines.logger("pipeline.metrics")

VALUES_PER_SERIES = 150
"""Most distinct values in one series. Source: CloudWatch API Reference, MetricDatum, Values."""

EXACT_VALUES = 1_500
"""Distinct values of one metric, queue and task that are kept exact; later ones are rounded."""

LARGEST_VALUE = 2.0**360
"""Largest value that may be recorded. Source: CloudWatch API Reference, PutMetricData."""

OTHER = "other"
"""Name in place of each queue or task beyond the limit."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one metric, queue and task since the last emit."""

    metric: Metric
    queue: str
    """Empty where unknown."""
    task: str
    """Empty where unknown."""
    values: Mapping[float, int]
    """Value -> how often; at most ``VALUES_PER_SERIES``. For a level, the latest value is last."""

    @property
    def total(self) -> float:
        """Sum of all values."""
        return sum(value * count for value, count in self.values.items())

    @property
    def last(self) -> float:
        """Latest value of a level."""
        return list(self.values)[-1]


@runtime_checkable
class MetricSink(Protocol):
    """Delivers metrics. Called from one thread per process; after a fork, from the child's own."""

    def emit(self, batch: Sequence[Series]) -> None:
        """Deliver the batch, or raise any error: the recorder counts the batch as dropped."""


class NullSink:
    """A sink that discards all metrics."""

    def emit(self, batch: Sequence[Series]) -> None:
        """Do nothing."""


class Recorder:
    """Collects values and emits them to a sink. Safe in threads, after a fork, and under gevent.

    A forked child starts empty, with its own thread, so nothing is emitted twice. Pending values of a killed
    process are lost and not counted: at most those of one interval.

    Raises:
        ValueError: an interval or limit is out of range.
    """

    _flusher: "_Flusher | None"

    def __init__(
        self,
        sink: MetricSink,
        interval_seconds: float = 60.0,
        task_limit: int = 100,
        queue_limit: int = 100,
    ) -> None:
        if not 0 < interval_seconds <= threading.TIMEOUT_MAX:
            raise ValueError(f"{interval_seconds=}: expected more than 0, and finite")
        if task_limit < 1 or queue_limit < 1:
            raise ValueError(f"{task_limit=}, {queue_limit=}: expected 1 or more")
        self.is_emitting = not isinstance(sink, NullSink)
        """Whether there is a sink. If not, callers skip values that cost requests."""
        self._sink = sink
        self._interval_seconds = interval_seconds
        self._task_limit, self._queue_limit = task_limit, queue_limit
        self._start_empty()
        _recorders.add(self)

    def record(self, metric: Metric, value: float = 1, *, queue: str = "", task: str = "") -> None:
        """Record one value, in the metric's unit. Never raises, and never waits for the sink.

        A value that is no finite number within ``LARGEST_VALUE`` is counted as dropped. An exception of a
        signal handler (a soft time limit) passes through.
        """
        try:
            with self._lock:
                self._add(metric, value, self._queues.admit(queue), self._tasks.admit(task))
        except (AttributeError, OverflowError, TypeError, ValueError):
            self._add_dropped(1)

    def flush(self, timeout_seconds: float = 5.0) -> None:
        """Emit pending values, and wait up to ``timeout_seconds``. Never raises."""
        flusher = self._flusher
        if flusher is not None:
            flusher.ask().wait(timeout_seconds)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Flush and stop the thread. Safe to call twice; a new value starts another thread."""
        with self._lock:
            flusher, self._flusher = self._flusher, None
        if flusher is not None:
            flusher.ask(last=True).wait(timeout_seconds)

    def _start_empty(self) -> None:
        # Reentrant: a finaliser or a signal handler may record in the middle of a record.
        self._lock = threading.RLock()
        self._flusher = None
        self._failing = False
        self._pending: dict[_Key, dict[float, int]] = {}
        self._tasks, self._queues = _Names(self._task_limit), _Names(self._queue_limit)

    def _add(self, metric: Metric, value: float, queue: str, task: str) -> None:
        if not abs(value) <= LARGEST_VALUE:  # written so because NaN compares false
            raise ValueError(value)
        values = self._pending.setdefault((metric, queue, task), {})
        if metric.unit is Unit.SECONDS or len(values) >= EXACT_VALUES:
            value = float(f"{value:.3g}")
        known = values.pop(value, 0) if metric.is_level else values.get(value, 0)
        values[value] = known + 1
        if self._flusher is None:
            self._flusher = _Flusher.started(self._emit, self._interval_seconds)

    def _add_dropped(self, dropped_count: float) -> None:
        with self._lock:
            self._add(DATA_DROPPED, dropped_count, "", "")

    def _emit(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        batch = tuple(_series(pending))
        try:
            if batch:
                self._sink.emit(batch)
                self._failing = False
        except Exception as error:  # noqa: BLE001 - a sink may raise any error
            self._drop(batch, error)

    def _drop(self, batch: Sequence[Series], error: Exception) -> None:
        dropped_count = sum(map(_data_count, batch))
        self._add_dropped(dropped_count)
        if not self._failing:
            extra = {"dropped_count": dropped_count}
            logger.warning("metrics dropped", extra=extra, exc_info=error)
        self._failing = True


class _Names:
    """The first ``limit`` names; every later name becomes :data:`OTHER`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted = {"": ""}

    def admit(self, name: str) -> str:
        if name in self._admitted:
            return name
        if not isinstance(name, str):
            raise TypeError(name)
        if len(self._admitted) > self._limit:
            return OTHER
        return self._admitted.setdefault(name, name)


class _Flusher(threading.Thread):
    """Calls ``emit`` once an interval and on request, until the last request."""

    def __init__(self, emit: Callable[[], None], interval_seconds: float) -> None:
        super().__init__(name="claimcheck-metrics", daemon=True)
        self._emit = emit
        self._interval_seconds = interval_seconds
        self._requests: queues.SimpleQueue[tuple[threading.Event, bool]] = queues.SimpleQueue()

    @classmethod
    def started(cls, emit: Callable[[], None], interval_seconds: float) -> "_Flusher | None":
        """Start a thread, or return ``None`` if this process cannot start one now."""
        flusher = cls(emit, interval_seconds)
        try:
            flusher.start()
        except RuntimeError:
            return None
        return flusher

    def ask(self, *, last: bool = False) -> threading.Event:
        """Request an emit, and return the event that is set after it."""
        done = threading.Event()
        self._requests.put((done, last))
        return done

    def run(self) -> None:
        """Emit on each request, until the last one."""
        last = False
        while not last:
            done, last = self._next()
            self._emit()
            done.set()

    def _next(self) -> tuple[threading.Event, bool]:
        try:
            return self._requests.get(timeout=self._interval_seconds)
        except queues.Empty:
            return threading.Event(), False


def _series(pending: Mapping["_Key", Mapping[float, int]]) -> Iterator[Series]:
    for (metric, queue, task), values in pending.items():
        rest = iter(values.items())
        while chunk := dict(islice(rest, VALUES_PER_SERIES)):
            yield Series(metric, queue, task, chunk)


def _data_count(series: Series) -> int:
    # Counts of earlier dropped batches in this batch must not be lost with it.
    weigh = series.metric is DATA_DROPPED
    return int(sum(count * (value if weigh else 1) for value, count in series.values.items()))


def _start_empty_after_fork() -> None:
    for recorder in list(_recorders):
        recorder._start_empty()  # noqa: SLF001 - same module


def _close_at_exit() -> None:
    for recorder in list(_recorders):
        recorder.close()


_Key = tuple[Metric, str, str]
_recorders: WeakSet[Recorder] = WeakSet()
atexit.register(_close_at_exit)
if sys.platform != "win32":  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_start_empty_after_fork)

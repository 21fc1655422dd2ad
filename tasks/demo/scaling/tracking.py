"""Application Auto Scaling as the template uses it: target tracking, and a step that starts the first worker.

Source: Application Auto Scaling User Guide, "Target tracking scaling policies". The guide leaves out what its
alarms show: three periods above the target scale out, 15 periods below 90 % of it scale in.
AWS scales in "more gradually" than in proportion, and does not say how. Here it is in proportion.
"""

from collections import deque
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from tasks.demo.scaling.shipped import Scaling

HIGH_PERIODS = 3
LOW_PERIODS = 15
LOW_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Reading:
    """The metrics of a queue in one period; None for a metric without a value."""

    waiting: int | None
    hidden: int | None
    """Messages in flight."""
    slots: int | None
    """Tasks that all workers together may run at once, as far as they have reported it."""


@dataclass(slots=True)
class TargetTracking:
    """Decides, once in each period, how many workers a queue gets."""

    scaling: Scaling
    _values: deque[float | None] = field(default_factory=lambda: deque(maxlen=LOW_PERIODS))
    _slots: int | None = None
    _period: int = 0
    _out_until: int = 0
    _in_until: int = 0
    _first_until: int = 0
    _base: int = 0
    """Workers before the scale-out whose cooldown is in effect."""

    def wanted(self, reading: Reading, workers: int) -> int:
        """Return how many workers there should be.

        Args:
            reading: the metrics of the period that has ended.
            workers: how many there should be by the last decision.
        """
        self._period += 1
        self._slots = self._slots if reading.slots is None else reading.slots
        self._values.append(self._value(self.scaling.metric, reading))
        if self._is_high():
            found = self._scaled_out(workers)
        elif self._is_low():
            found = self._scaled_in(workers)
        else:
            found = workers
        # If policies disagree, the larger capacity wins.
        found = max(found, self._with_first(reading, workers), self.scaling.min_workers)
        return min(found, self.scaling.max_workers)

    def _is_high(self) -> bool:
        last = list(self._values)[-HIGH_PERIODS:]
        return len(last) == HIGH_PERIODS and all(
            value is not None and value > self.scaling.target for value in last
        )

    def _is_low(self) -> bool:
        floor = LOW_SHARE * self.scaling.target
        return len(self._values) == LOW_PERIODS and all(
            value is not None and value < floor for value in self._values
        )

    def _scaled_out(self, workers: int) -> int:
        """Return the workers in proportion; those that are starting count as part of them."""
        is_cooling = self._period < self._out_until
        found = self._in_proportion(self._base if is_cooling else workers)
        if found > workers and not is_cooling:
            self._base, self._out_until = workers, self._period + self.scaling.out_cooldown_periods
        return max(found, workers)

    def _scaled_in(self, workers: int) -> int:
        found = self._in_proportion(workers)
        if found >= workers or self._period < self._in_until:
            return workers
        self._in_until = self._period + self.scaling.in_cooldown_periods
        return found

    def _in_proportion(self, workers: int) -> int:
        value = self._values[-1]
        assert value is not None
        return min(ceil(workers * value / self.scaling.target), self.scaling.max_workers)

    def _with_first(self, reading: Reading, workers: int) -> int:
        if self._period < self._first_until or not self._value(self.scaling.first_metric, reading):
            return 0
        self._first_until = self._period + self.scaling.first_cooldown_periods
        return workers + self.scaling.first_workers

    def _value(self, expression: str, reading: Reading) -> float | None:
        """Return the value of metric math; None where CloudWatch has none."""
        names: dict[str, Any] = {
            "waiting": reading.waiting,
            "hidden": reading.hidden,
            "slots": reading.slots,
            "REPEAT": self._slots,
            "FILL": lambda value, other: other if value is None else value,
            "IF": lambda condition, value, other: value if condition else other,
            "__builtins__": {},
        }
        try:
            found: float | None = eval(expression, names)  # noqa: S307 - of our own template
        except TypeError:  # a metric without a value
            return None
        return found

"""The day of each queue: how many tasks a second at which hour."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HOUR_SECONDS = 3_600
DAY_SECONDS = 24 * HOUR_SECONDS


@dataclass(frozen=True)
class Load:
    """Tasks of a queue over a day."""

    queue: str
    rate: Callable[[np.ndarray], np.ndarray]
    """Tasks a second at these hours."""

    def arrivals(self, seed: int) -> np.ndarray:
        """Return the number of tasks that arrive in each second."""
        hours = np.arange(DAY_SECONDS) / HOUR_SECONDS
        return np.random.default_rng(seed).poisson(self.rate(hours))


def _office(hours: np.ndarray) -> np.ndarray:
    """Return the rate of office hours: peaks at ten and three, nothing from ten at night."""
    peaks = 8.0 * np.exp(-(((hours - 10) / 1.5) ** 2)) + 6.0 * np.exp(-(((hours - 15) / 1.8) ** 2))
    return np.where((hours >= 6.5) & (hours < 22), peaks + 0.15, 0.0)


def _batches(hours: np.ndarray) -> np.ndarray:
    """Return the rate of batches: a large one at two in the morning, smaller ones by day."""
    rate = np.zeros_like(hours)
    for hour, tasks in ((2.0, 100_000), (9.0, 5_000), (13.0, 20_000), (18.0, 5_000)):
        rate += np.where((hours >= hour) & (hours < hour + 0.05), tasks / (0.05 * HOUR_SECONDS), 0.0)
    return rate


LOADS = (Load("default", _office), Load("bulk", _batches))

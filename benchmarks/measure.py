"""Timing (the median of several runs in one process) and realistic input."""

import gc
import math
import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Any

MEGABYTE = 1_000_000


def milliseconds(call: Callable[[], Any], runs: int = 5) -> float:
    """Return the median time of a call in ms; its result is deleted before the next run."""
    times = []
    for _ in range(runs):
        gc.collect()
        start = perf_counter()
        kept = call()
        times.append(perf_counter() - start)
        del kept
    return statistics.median(times) * 1_000


def without_gc(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return the call with the garbage collector held off."""

    def held() -> Any:
        gc.disable()
        try:
            return call()
        finally:
            gc.enable()

    return held


def records(count: int, *, typed: bool = False, seed: int = 1) -> list[dict[str, Any]]:
    """Return records as an application has them, about 240 bytes each as JSON."""
    dice = random.Random(seed)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        {
            "id": number,
            "name": f"customer {number}",
            "email": f"customer{number}@example.com",
            "balance": Decimal(dice.randrange(10**6)) / 100 if typed else dice.random() * 10_000,
            "created": start + timedelta(minutes=number)
            if typed
            else f"2026-01-{number % 28 + 1:02}T00:00:00",
            "active": number % 3 == 0,
            "tags": dice.sample(["new", "vip", "web", "shop", "north"], 3),
            "address": {"street": f"{number} Main Street", "city": dice.choice(["Oslo", "Paris", "Rome"])},
        }
        for number in range(count)
    ]


def number(value: float) -> str:
    """Return a number with three digits that count, such as 1,234 or 0.057."""
    if abs(value) < 0.0005:
        return "0"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

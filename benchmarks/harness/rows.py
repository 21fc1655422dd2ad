"""The figures that have a goal, each with the scenario that produces it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.scenarios import AHEAD, EXTENDED, FLOOR, NAIVE, REDIS, STOCK, THIS
from benchmarks.measure import number

SHORT = {NAIVE: "naive", STOCK: "stock", REDIS: "Redis"}
"""What peers are called in goals."""

Peers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Goal:
    """What a figure is to reach: a value, a multiple of a peer's figure, or no more above it."""

    at_least: float | None = None
    at_most: float | None = None
    times: str = ""
    """The peer whose figure is one."""
    above: str = ""
    """The peer whose figure is zero."""

    def text(self, unit: str) -> str:
        """Return the goal as the table shows it."""
        limit = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        if self.times:
            return f"{limit} x {SHORT.get(self.times, self.times)}"
        return f"{limit}{unit}" + (f" above {SHORT.get(self.above, self.above)}" if self.above else "")

    def is_met(self, figure: Mapping[str, float], others: Peers, name: str) -> bool:
        """Return whether a figure of this project reaches the goal."""
        value = figure["median"]
        if self.above:
            value -= others[self.above][name]["median"]
        elif self.times:
            value = figure["ratio"]
        return value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)


@dataclass(frozen=True)
class Row:
    """One figure of one scenario."""

    title: str
    scenario: str
    figure: str
    goal: Goal
    unit: str = ""
    peer: str = THIS
    """Whose figure it is."""


def _at_most(value: float) -> Goal:
    return Goal(at_most=value)


ROWS: Sequence[Row] = (
    Row("calls for a 300 KB task, one by one", "one-by-one", "calls", _at_most(3.2)),
    Row("the same at 20 ms, 8 threads", "one-by-one-threads", "calls", _at_most(3.2)),
    Row("the same, published together", "text", "calls", _at_most(1.5)),
    Row("calls for a task of 1 KB, together", "small", "calls", _at_most(0.35)),
    Row("tasks/s, 1 KB, 0 ms", "small", "tasks_per_second", Goal(at_least=4, times=STOCK)),
    Row("tasks/s, 1 KB, 20 ms", "small-20ms", "tasks_per_second", Goal(at_least=8, times=STOCK)),
    Row(
        "tasks/s, 1 KB, 20 ms, 8 threads",
        "small-threads",
        "tasks_per_second",
        Goal(at_least=12, times=STOCK),
    ),
    Row("tasks/s, 300 KB, 0 ms", "text", "tasks_per_second", Goal(at_least=5, times=NAIVE)),
    Row(
        "tasks/s, 300 KB, 20 ms, 4 processes",
        "text-20ms",
        "tasks_per_second",
        Goal(at_least=12, times=NAIVE),
    ),
    Row(
        "the same with `read_ahead_bytes`",
        "text-20ms",
        "tasks_per_second",
        Goal(at_least=12, times=NAIVE),
        peer=AHEAD,
    ),
    Row("worker CPU for a task of 1 KB", "small", "worker_cpu_ms", _at_most(0.9), " ms"),
    Row("worker CPU for a task of 300 KB", "text", "worker_cpu_ms", _at_most(2.2), " ms"),
    Row("producer CPU for a task of 1 KB", "small", "producer_cpu_ms", _at_most(1.2), " ms"),
    Row("producer CPU for a task of 300 KB", "text", "producer_cpu_ms", _at_most(2.5), " ms"),
    Row("publishing 200 tasks of 300 KB, 20 ms", "text-20ms", "publish_seconds", _at_most(0.7), " s"),
    Row("`delay()` of 300 KB, 20 ms", "one-by-one-threads", "publish_ms", _at_most(45), " ms"),
    Row("`delay()` of 8 MiB, 20 ms", "8mib", "publish_ms", _at_most(80), " ms"),
    Row("tasks/s, 8 MiB, 20 ms", "8mib", "tasks_per_second", Goal(at_least=60)),
    Row("peak RSS of a child, in 64 MiB payloads", "64mib", "child_growth", _at_most(1.3)),
    Row("peak RSS of the producer, in 64 MiB payloads", "64mib", "producer_growth", _at_most(2)),
    Row("peak RSS of main, in 64 MiB payloads", "64mib", "main_growth", _at_most(0.05)),
    Row("dollars per million tasks of 300 KB", "text", "dollars_per_million", _at_most(1)),
    Row(
        "`celery status` in a new process",
        "status",
        "status_seconds",
        Goal(at_most=0.2, above=REDIS),
        " s",
    ),
)

OTHERS = (NAIVE, STOCK, REDIS, EXTENDED, FLOOR)
COLUMNS = ("figure", THIS, "goal", "met", *OTHERS)


def cells(row: Row, scenarios: Mapping[str, Peers]) -> Sequence[str]:
    """Return the cells of a row, in the order of the columns."""
    peers = scenarios[row.scenario]
    ours, *others = (peers.get(name, {}).get(row.figure) for name in (row.peer, *OTHERS))
    met = "yes" if ours and row.goal.is_met(ours, peers, row.figure) else "no"
    shown = (_shown(row, figure) for figure in others)
    return row.title, _shown(row, ours), row.goal.text(row.unit), met, *shown


def _shown(row: Row, figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    ratio = f" ({figure['ratio']:.1f}x)" if row.goal.times else ""
    return f"{number(figure['median'])}{row.unit}{ratio}"

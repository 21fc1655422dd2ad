"""All scenarios and all peers in turns, several times."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.harness.bench import Bench, running
from benchmarks.harness.cell import Figures, measure
from benchmarks.harness.scenarios import SCENARIOS, Scenario
from benchmarks.harness.summary import Cells, summary
from benchmarks.peers.peers import NAMED

REPETITIONS = 3
MINUTES = 15.0
ERROR_CHARACTERS = 300
"""How much of the end of an error is shown."""
PACKAGES = ("celery", "kombu", "boto3", "redis", "amazon-sqs-extended-client")


def run(
    scenarios: Sequence[Scenario] = SCENARIOS, repetitions: int = REPETITIONS, minutes: float = MINUTES
) -> Mapping[str, Any]:
    """Return the results of a run, which are also what the JSON file holds.

    A cell that fails twice has no figures, and is named on stderr. A repetition that would not end in time
    does not begin.
    """
    load = os.getloadavg()[0]
    cells: Cells = {(each.name, peer): [] for each in scenarios for peer in each.peers}
    deadline = time.monotonic() + minutes * 60
    with running() as bench, _progress() as progress:
        for number in range(repetitions):
            chosen = [each for each in scenarios if number < each.repetitions]
            if number and _seconds(cells, chosen) > deadline - time.monotonic():
                break
            for scenario, peer in _turned(progress, chosen, number, repetitions):
                cells[scenario.name, peer].append(_measured(progress, bench, peer, scenario))
    return {
        "measured": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "load": round(load, 1),
        "versions": {name: version(name) for name in PACKAGES},
        "scenarios": [summary(scenario, cells) for scenario in scenarios],
    }


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _seconds(cells: Cells, scenarios: Sequence[Scenario]) -> float:
    """Return how long these scenarios took the last time."""
    return sum(cells[each.name, peer][-1]["took_seconds"] for each in scenarios for peer in each.peers)


def _turned(
    progress: Progress, scenarios: Sequence[Scenario], number: int, repetitions: int
) -> Iterator[tuple[Scenario, str]]:
    """Yield peers in another order each time, so that none always runs on a busy machine."""
    bar = progress.add_task("", total=sum(len(each.peers) for each in scenarios))
    for scenario in scenarios:
        first = number * 2 % len(scenario.peers)
        for peer in [*scenario.peers[first:], *scenario.peers[:first]]:
            progress.update(bar, description=f"{number + 1}/{repetitions}: {scenario.name}, {peer}")
            yield scenario, peer
            progress.advance(bar)


def _measured(progress: Progress, bench: Bench, peer: str, scenario: Scenario) -> Figures:
    """Measure a cell, and once more if it fails: a run has many cells.

    Where no terminal shows the bar, each cell is a line.
    """
    start = time.monotonic()
    figures: Figures = {}
    for _ in range(2):
        try:
            figures = measure(bench, NAMED[peer], scenario)
            break
        except Exception as exc:  # noqa: BLE001 - one failed cell does not end a run
            progress.console.print(f"{scenario.name}, {peer}: {repr(exc)[-ERROR_CHARACTERS:]}", markup=False)
    took_seconds = time.monotonic() - start
    if not progress.console.is_terminal:
        progress.console.print(f"{scenario.name}, {peer}: {took_seconds:.1f} s")
    return figures | {"took_seconds": took_seconds}

"""All peers in turns, several times: medians, their spread, and ratios within a repetition."""

import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from benchmarks.peers.cell import Bench, Figures, measure
from benchmarks.peers.peers import PEERS, Peer
from benchmarks.peers.proxy import DelayingProxy, HTTPProxy
from benchmarks.peers.standins import Ministack, Redis
from benchmarks.peers.workload import SCENARIOS, Scenario
from pipeline.local import environment

REPETITIONS = 3
MINUTES = 15.0
PACKAGES = ("celery", "kombu", "boto3", "redis", "amazon-sqs-extended-client")

Cells = dict[tuple[str, str], list[Figures]]
"""Figures by scenario and peer, one for each repetition."""


def run(repetitions: int = REPETITIONS, minutes: float = MINUTES) -> Mapping[str, Any]:
    """Return the results of a run, which are also what the JSON file holds.

    A repetition that would not end in time does not begin.
    """
    numbers = []
    cells: Cells = {(scenario.name, peer.name): [] for scenario in SCENARIOS for peer in PEERS}
    with _bench() as bench:
        for number in _in_time(repetitions, minutes * 60):
            numbers.append(number)
            for scenario in SCENARIOS:
                for peer in _turned(PEERS, number):
                    print(f"{number + 1}/{repetitions}: {scenario.name}, {peer.name} …", file=sys.stderr)
                    cells[scenario.name, peer.name].append(_measured(bench, peer, scenario))
    return {
        "measured": datetime.now(UTC).date().isoformat(),
        "repetitions": len(numbers),
        "versions": {name: version(name) for name in PACKAGES},
        "scenarios": [_summary(scenario, cells) for scenario in SCENARIOS],
    }


def _in_time(repetitions: int, seconds: float) -> Iterator[int]:
    """Yield numbers from 0 on; stop before one that would end too late if it takes as long as the others."""
    start = time.monotonic()
    for number in range(repetitions):
        if number == 0 or (time.monotonic() - start) * (number + 1) / number <= seconds:
            yield number


def _measured(bench: Bench, peer: Peer, scenario: Scenario) -> Figures:
    """Measure a cell, and once more if its worker stalled: a run has many cells."""
    try:
        return measure(bench, peer, scenario)
    except RuntimeError as exc:
        print(f"{scenario.name}, {peer.name}: {exc}; once more …", file=sys.stderr)
        return measure(bench, peer, scenario)


@contextmanager
def _bench() -> Iterator[Bench]:
    with Ministack() as aws, Redis() as redis:
        os.environ.update(environment(aws.url))
        with HTTPProxy(aws.port) as aws_proxy, DelayingProxy(redis.port) as redis_proxy:
            yield Bench(aws, redis, aws_proxy, redis_proxy)


def _turned(peers: Sequence[Peer], number: int) -> Sequence[Peer]:
    """Return the peers in another order each time, so that none always runs on a busy machine."""
    first = number * 2 % len(peers)
    return [*peers[first:], *peers[:first]]


def _summary(scenario: Scenario, cells: Cells) -> Mapping[str, Any]:
    baseline = cells[scenario.name, scenario.baseline]
    peers = {peer.name: _compared(cells[scenario.name, peer.name], baseline) for peer in PEERS}
    return {"name": scenario.name, "tasks": scenario.tasks, "baseline": scenario.baseline, "peers": peers}


def _compared(rows: list[Figures], baseline: list[Figures]) -> Mapping[str, Any]:
    kinds = {kind for row in rows for kind in row.get("calls_by_kind", ())}
    by_kind = {
        kind: round(statistics.median(row["calls_by_kind"].get(kind, 0) for row in rows), 3) for kind in kinds
    }
    figures = [name for name in rows[0] if name != "calls_by_kind"]
    return {"calls_by_kind": by_kind, **{name: _median(name, rows, baseline) for name in figures}}


def _median(name: str, rows: list[Figures], baseline: list[Figures]) -> Mapping[str, float | None]:
    values = [row[name] for row in rows]
    pairs = [(value, other.get(name)) for value, other in zip(values, baseline, strict=True)]
    ratios = [value / other for value, other in pairs if other]
    return {
        "median": round(statistics.median(values), 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
    }

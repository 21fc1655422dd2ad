"""Medians, their spread, and ratios within a repetition."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.cell import Figures
from benchmarks.harness.scenarios import Scenario

Cells = dict[tuple[str, str], list[Figures]]
"""Figures by scenario and peer, one for each repetition."""

DECIMALS = 4


def summary(scenario: Scenario, cells: Cells) -> Mapping[str, Any]:
    """Return the figures of a scenario for each peer, and what they are of."""
    baseline = cells[scenario.name, scenario.baseline]
    return {
        "name": scenario.name,
        "title": scenario.title,
        "tasks": scenario.tasks,
        "payload_bytes": scenario.payload.size_bytes,
        "delay_ms": scenario.delay_ms,
        "workers": scenario.workers,
        "repetitions": len(baseline),
        "baseline": scenario.baseline,
        "peers": {peer: compared(cells[scenario.name, peer], baseline) for peer in scenario.peers},
    }


def compared(rows: Sequence[Figures], baseline: Sequence[Figures]) -> Mapping[str, Any]:
    """Return medians of a peer, with ratios to another; of a peer that failed, nothing."""
    whole = [row for row in rows if len(row) > 1]
    kinds = sorted({kind for row in whole for kind in row.get("calls_by_kind", ())})
    names = sorted({name for row in whole for name in row} - {"calls_by_kind", "took_seconds"})
    return {
        "calls_by_kind": {
            kind: _rounded(statistics.median(row.get("calls_by_kind", {}).get(kind, 0) for row in whole))
            for kind in kinds
        },
        **{name: _median(name, rows, baseline) for name in names},
    }


def _median(name: str, rows: Sequence[Figures], baseline: Sequence[Figures]) -> Mapping[str, float | None]:
    values = [row[name] for row in rows if name in row]
    pairs = [(row[name], other.get(name)) for row, other in zip(rows, baseline, strict=True) if name in row]
    ratios = [value / other for value, other in pairs if other]
    return {
        "median": _rounded(statistics.median(values)),
        "low": _rounded(min(values)),
        "high": _rounded(max(values)),
        "ratio": _rounded(statistics.median(ratios)) if ratios else None,
    }


def _rounded(value: float) -> float:
    return round(value, DECIMALS)

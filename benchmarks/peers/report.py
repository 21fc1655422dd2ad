"""The results as tables: on the terminal, on the page, and in the README."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import markdown
from benchmarks.peers.peers import PEERS
from benchmarks.peers.standins import ROOT

RESULTS = ROOT / "docs/explanation/benchmarks.json"
PAGE = ROOT / "docs/explanation/benchmarks.md"
README = ROOT / "README.md"

NAMES = tuple(peer.name for peer in PEERS)
FIGURES: Sequence[tuple[str, str, int]] = (
    ("calls", "AWS calls", 2),
    ("dollars_per_million", "dollars per million", 2),
    ("wire_kb", "KB on the wire", 0),
    ("redis_kb", "KB in Redis", 0),
    ("published_per_second", "published/s", 0),
    ("tasks_per_second", "tasks/s", 0),
    ("producer_cpu_ms", "producer CPU, ms", 2),
    ("worker_cpu_ms", "worker CPU, ms", 2),
    ("main_peak_mb", "peak RSS of main, MB", 0),
    ("child_peak_mb", "peak RSS of a child, MB", 0),
    ("payloads_left", "payloads left", 1),
)
"""Name, heading and decimals. All but rates, memory and dollars are per task."""

COLUMNS = ("this", "naive serializer", "AWS's extended client", "Celery on Redis", "stock Celery on SQS")
"""Of the README."""
LARGE, SMALL = "300 KB of text", "1 KB"
ROWS: Sequence[tuple[str, str, str, str, int]] = (
    ("300 KB: AWS calls for a task", f"{LARGE}, 0 ms", "calls", "median", 2),
    ("dollars of AWS per million", f"{LARGE}, 0 ms", "dollars_per_million", "median", 2),
    ("tasks/s, 0 ms latency; naive is 1", f"{LARGE}, 0 ms", "tasks_per_second", "ratio", 1),
    ("tasks/s, 20 ms latency; naive is 1", f"{LARGE}, 20 ms", "tasks_per_second", "ratio", 1),
    ("worker CPU for a task, ms", f"{LARGE}, 0 ms", "worker_cpu_ms", "median", 1),
    ("payloads left for each task", f"{LARGE}, 0 ms", "payloads_left", "median", 0),
    ("1 KB: AWS calls for a task", f"{SMALL}, 0 ms", "calls", "median", 2),
    ("tasks/s, 0 ms latency; stock is 1", f"{SMALL}, 0 ms", "tasks_per_second", "ratio", 1),
    ("tasks/s, 20 ms latency; stock is 1", f"{SMALL}, 20 ms", "tasks_per_second", "ratio", 1),
)
"""Title, scenario, name, which of its values, and decimals."""

Results = Mapping[str, Any]


def write(results: Results) -> None:
    """Write the results into docs/ and the README."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for path, text in ((PAGE, page(results)), (README, readme(results))):
        path.write_text(between_marks(path, text))


def between_marks(path: Path, text: str) -> str:
    """Return a page with the text between its two marks."""
    before, _, rest = path.read_text().partition("<!-- figures -->\n")
    _, _, after = rest.partition("<!-- /figures -->")
    return f"{before}<!-- figures -->\n{text}\n<!-- /figures -->{after}"


def page(results: Results) -> str:
    """Return date and versions, who takes part, and a table for each scenario, as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    head = f"Measured on {results['measured']}, {results['repetitions']} repetitions, with {versions}."
    peers = markdown(
        ("peer", "what it is", "what it does not do"),
        [(f"**{peer.name}**", peer.what, peer.lacks) for peer in PEERS],
    )
    return "\n\n".join([head, peers, *map(_section, results["scenarios"])])


def _section(scenario: Mapping[str, Any]) -> str:
    heading = f"### {scenario['name']}\n\n{scenario['tasks']} tasks; ratios to {scenario['baseline']}."
    head = ("", *NAMES)
    kinds = markdown(("peer", "calls for a task"), _kinds(scenario))
    return f"{heading}\n\n{markdown(head, _rows(scenario))}\n\n{kinds}"


def _rows(scenario: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, title, decimals in FIGURES:
        yield title, *(_shown(peer.get(name), decimals) for peer in _ordered(scenario))


def _ordered(scenario: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [scenario["peers"][name] for name in NAMES]


def _kinds(scenario: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for peer, figures in zip(NAMES, _ordered(scenario), strict=True):
        kinds = sorted(figures["calls_by_kind"].items())
        shown = ", ".join(f"{name} {number:.2f}" for name, number in kinds if number >= 0.01)
        yield peer, shown or "none"


def _shown(figure: Mapping[str, float] | None, decimals: int) -> str:
    if figure is None:
        return "-"
    low, median, high = (f"{figure[name]:,.{decimals}f}" for name in ("low", "median", "high"))
    spread = "" if low == high else f" ({low} to {high})"
    ratio = "" if figure["ratio"] is None else f", {figure['ratio']:.2f}x"
    return f"{median}{spread}{ratio}"


def readme(results: Results) -> str:
    """Return the short table, as Markdown."""
    scenarios = {scenario["name"]: scenario["peers"] for scenario in results["scenarios"]}
    rows = [
        (title, *(_cell(scenarios[scenario][peer].get(name), value, decimals) for peer in COLUMNS))
        for title, scenario, name, value, decimals in ROWS
    ]
    return markdown(("", *COLUMNS), rows)


def _cell(figure: Mapping[str, float] | None, value: str, decimals: int) -> str:
    return "-" if figure is None else f"{figure[value]:,.{decimals}f}"


def show(results: Results) -> None:
    """Print a table for each scenario."""
    for scenario in results["scenarios"]:
        table = Table("", *NAMES, title=scenario["name"])
        for row in _rows(scenario):
            table.add_row(*row)
        Console().print(table)

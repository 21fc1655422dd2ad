"""The results as tables: on the terminal, on the page, and in the README."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.harness import plots, rows
from benchmarks.measure import markdown, number
from benchmarks.peers.peers import PEERS
from benchmarks.peers.standins import ROOT

RESULTS = ROOT / "docs/explanation/benchmarks.json"
PAGE = ROOT / "docs/explanation/benchmarks.md"
README = ROOT / "README.md"
PLOTS = ROOT / "docs/images/benchmarks"
WIDE = 180
"""Characters of a line that no terminal shows."""

FIGURES: Mapping[str, str] = {
    "calls": "AWS calls",
    "dollars_per_million": "dollars per million",
    "wire_kb": "KB on the wire",
    "redis_kb": "KB in Redis",
    "publish_seconds": "seconds to publish all",
    "published_per_second": "published/s",
    "publish_ms": "a call that publishes, ms",
    "tasks_per_second": "tasks/s",
    "receive_to_start_ms": "from receive to start, ms",
    "end_to_end_p50_ms": "end to end, median, ms",
    "end_to_end_p99_ms": "end to end, p99, ms",
    "producer_cpu_ms": "CPU s per 1,000 tasks: producer",
    "main_cpu_ms": "CPU s per 1,000 tasks: main",
    "child_cpu_ms": "CPU s per 1,000 tasks: children",
    "worker_cpu_ms": "CPU s per 1,000 tasks: worker",
    "producer_growth": "peak RSS over idle, in payloads: producer",
    "main_growth": "peak RSS over idle, in payloads: main",
    "child_growth": "peak RSS over idle, in payloads: a child",
    "main_peak_mb": "peak RSS, MB: main",
    "child_peak_mb": "peak RSS, MB: a child",
    "payloads_left": "payloads left",
    "calls_per_minute": "AWS calls a minute",
    "idle_cpu_ms_per_minute": "CPU ms a minute",
    "status_seconds": "seconds",
}
"""Milliseconds a task are seconds per 1,000 tasks."""

COLUMNS = ("this", "naive serializer", "AWS's extended client", "Celery on Redis", "stock Celery on SQS")
"""Of the README."""
README_ROWS: Sequence[tuple[str, str, str, str]] = (
    ("300 KB: AWS calls for a task", "text", "calls", "median"),
    ("dollars of AWS per million", "text", "dollars_per_million", "median"),
    ("tasks/s, 0 ms latency; naive is 1", "text", "tasks_per_second", "ratio"),
    ("tasks/s, 20 ms latency; naive is 1", "text-20ms", "tasks_per_second", "ratio"),
    ("worker CPU for a task, ms", "text", "worker_cpu_ms", "median"),
    ("payloads left for each task", "text", "payloads_left", "median"),
    ("1 KB: AWS calls for a task", "small", "calls", "median"),
    ("tasks/s, 0 ms latency; stock is 1", "small", "tasks_per_second", "ratio"),
    ("tasks/s, 20 ms latency; stock is 1", "small-20ms", "tasks_per_second", "ratio"),
)
"""Title, scenario, name, and which of its values."""

Results = Mapping[str, Any]


def write(results: Results) -> None:
    """Write the results into docs/ and the README, as data, tables and plots."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    plots.write(results, PLOTS)
    for path, text in ((PAGE, page(results)), (README, readme(results))):
        path.write_text(between_marks(path, text))


def between_marks(path: Path, text: str) -> str:
    """Return a page with the text between its two marks."""
    before, _, rest = path.read_text().partition("<!-- figures -->\n")
    _, _, after = rest.partition("<!-- /figures -->")
    return f"{before}<!-- figures -->\n{text}\n<!-- /figures -->{after}"


def page(results: Results) -> str:
    """Return date and versions, goals, who takes part, and a table for each scenario, as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    machine = f"{results['cores']} cores, whose load before the run was {results['load']}"
    head = f"Measured on {results['measured']}, on {machine}, with {versions}."
    peers = markdown(
        ("peer", "what it is", "what it does not do"),
        [(f"**{peer.name}**", peer.what, peer.lacks) for peer in PEERS],
    )
    scenarios = ["### Scenarios", _scenarios(results)]
    images = [f"![{each.message}](../images/benchmarks/{each.name}.svg)" for each in plots.PLOTS]
    sections = map(_section, results["scenarios"])
    return "\n\n".join(
        [head, "### Goals", goals(results), *images, "### Peers", peers, *scenarios, *sections]
    )


def _scenarios(results: Results) -> str:
    head = ("scenario", "what", "tasks", "repetitions", "beside this")
    return markdown(
        head,
        [
            (
                f"`{each['name']}`",
                each["title"],
                str(each["tasks"] or "-"),
                str(each["repetitions"]),
                ", ".join(name for name in each["peers"] if name != "this"),
            )
            for each in results["scenarios"]
        ],
    )


def goals(results: Results) -> str:
    """Return the figures that have a goal, as Markdown."""
    peers = {scenario["name"]: scenario["peers"] for scenario in results["scenarios"]}
    shown = [row for row in rows.ROWS if row.scenario in peers]
    return markdown(rows.COLUMNS, [rows.cells(row, peers) for row in shown])


def _section(scenario: Mapping[str, Any]) -> str:
    tasks = f"{scenario['tasks']} tasks, " if scenario["tasks"] else ""
    times = f"{scenario['repetitions']} repetition{'s' * (scenario['repetitions'] > 1)}"
    note = f"`{scenario['name']}`: {tasks}{times}; ratios to {scenario['baseline']}."
    parts = [f"### {scenario['title']}", note, markdown(("", *scenario["peers"]), _rows(scenario))]
    kinds = list(_kinds(scenario))
    return "\n\n".join([*parts, markdown(("peer", "calls for a task"), kinds)] if kinds else parts)


def _rows(scenario: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    peers = scenario["peers"].values()
    for name, title in FIGURES.items():
        if any(name in figures for figures in peers):
            yield title, *(_shown(figures.get(name)) for figures in peers)


def _kinds(scenario: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for peer, figures in scenario["peers"].items():
        kinds = figures["calls_by_kind"].items()
        shown = ", ".join(f"{name} {number:.2f}" for name, number in kinds if number >= 0.01)
        if shown:
            yield peer, shown


def _shown(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    low, median, high = (number(figure[name]) for name in ("low", "median", "high"))
    spread = "" if low == high else f" ({low} to {high})"
    ratio = "" if figure["ratio"] is None else f", {figure['ratio']:.2f}x"
    return f"{median}{spread}{ratio}"


def readme(results: Results) -> str:
    """Return the short table, as Markdown."""
    scenarios = {scenario["name"]: scenario["peers"] for scenario in results["scenarios"]}
    shown = [
        (title, *(_cell(scenarios[scenario], peer, name, value) for peer in COLUMNS))
        for title, scenario, name, value in README_ROWS
    ]
    return markdown(("", *COLUMNS), shown)


def _cell(peers: rows.Peers, peer: str, name: str, value: str) -> str:
    figure = peers.get(peer, {}).get(name)
    return "-" if figure is None else number(figure[value])


def show(results: Results) -> None:
    """Print a table for each scenario, and the calls of each peer."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    for scenario in results["scenarios"]:
        title = f"{scenario['title']}; ratios to {scenario['baseline']}"
        table = Table("", *scenario["peers"], title=title)
        for row in _rows(scenario):
            table.add_row(*row)
        console.print(table)
        for peer, kinds in _kinds(scenario):
            console.print(f"{peer}: {kinds}", markup=False)
    print(goals(results))

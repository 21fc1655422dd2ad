"""What happened to each task, as a table for people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.telemetry.sizes import size
from tasks.demo import worker_journal
from tasks.demo.checks import Check
from tasks.demo.workload import Sent

WIDTH = 110
"""Columns, where the output is no terminal."""
NOT_KNOWN = "-"
LEGEND = (
    "Seconds; upload is all that delay() took, encoding and sending too; run includes storing the result."
)
COLUMNS: dict[str, Literal["left", "right"]] = {
    "task": "left",
    "queue": "left",
    "size": "right",
    "payload": "left",
    "wire": "right",
    "upload": "right",
    "rehydrate": "right",
    "run": "right",
    "result": "left",
}
"""Heads of the table, and how their cells are set."""

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=WIDTH)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar, and yield the function that advances it by one."""
    columns = (TextColumn("{task.description:<18}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task(title, total=total)
        yield lambda: bars.advance(bar)


def show(sent: Sequence[Sent], written: Path | None) -> None:
    """Print the table, with the figures of the workers' journal if there is one."""
    runs = {
        line["task_id"]: line
        for line in (worker_journal.read(written, worker_journal.RAN) if written else [])
    }
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for name, justify in COLUMNS.items():
        table.add_column(name, justify=justify, no_wrap=True)
    for each in sent:
        table.add_row(*_cells(each, runs.get(each.result.id, {})))
    console.print("", table, "", _total(sent), LEGEND, "", sep="\n")


def show_checks(checks: Sequence[Check]) -> None:
    """Print one line for each."""
    for check in checks:
        console.print(f"{'[green]✓[/]' if check.holds else '[red]✗[/]'} {check.text}")


def _cells(sent: Sent, run: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        sent.kind.task.name,
        sent.queue,
        size(sent.payload_bytes),
        "offloaded" if sent.key else "inline",
        size(sent.wire_bytes),
        seconds(sent.upload_seconds),
        seconds(run.get("rehydrate_seconds")),
        seconds(run.get("run_seconds")),
        sent.outcome,
    )


def _total(sent: Sequence[Sent]) -> str:
    payloads = size(sum(each.payload_bytes for each in sent))
    wire = size(sum(each.wire_bytes for each in sent))
    offloaded = sum(each.key is not None for each in sent)
    return f"{len(sent)} tasks, {offloaded} of them offloaded: {payloads} of arguments, {wire} over SQS"


def seconds(value: float | None) -> str:
    """Return a duration as the table shows it."""
    return NOT_KNOWN if value is None else f"{value:.2f}"

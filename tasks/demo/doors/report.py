"""What happened to each file, as a table for people."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from pipeline.telemetry.sizes import size
from tasks.demo.doors.uploading import Uploaded
from tasks.demo.report import console, seconds

COLUMNS = {"file": "left", "size": "right", "parts": "right", "upload": "right", "task": "right"}
LEGEND = "Seconds; task is the time from the end of the upload to the end of the task."


def show(done: Sequence[Uploaded]) -> None:
    """Print the table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    for name, justify in {**COLUMNS, "outcome": "left", "result": "left"}.items():
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for each in done:
        table.add_row(*_cells(each))
    console.print("", table, "", LEGEND, "", sep="\n")


def _cells(done: Uploaded) -> tuple[str, ...]:
    return (
        done.file.name,
        size(len(done.file.content)),
        str(done.parts_count or "-"),
        seconds(done.upload_seconds or None),
        seconds(done.task_seconds or None),
        done.outcome,
        done.result,
    )

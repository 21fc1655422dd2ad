"""What happens, as a live table and a line for each change; and what ``top`` printed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import box
from rich.live import Live
from rich.table import Table

from tasks.demo.report import console
from tasks.demo.scaling.loop import Line

COLUMNS = ("queue", "sent", "waiting", "in flight", "workers ready", "workers wanted")
BAR = "█"


@contextmanager
def live() -> Iterator[Callable[[list[Line]], None]]:
    """Yield a function that shows a period."""
    wanted: dict[str, int] = {}
    with Live(console=console, transient=True) as screen:

        def show(lines: list[Line]) -> None:
            for line in lines:
                if wanted.get(line.queue, 0) != line.wanted:
                    console.print(_change(line, wanted.get(line.queue, 0)))
                wanted[line.queue] = line.wanted
            screen.update(_table(lines))

        yield show


def _change(line: Line, before: int) -> str:
    text = f"{before} → {line.wanted} workers, with {line.waiting} waiting and {line.hidden} in flight"
    return f"{line.seconds:5.1f} s  {line.queue:<8} {text}"


def _table(lines: list[Line]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "queue" else "right", no_wrap=True)
    for line in lines:
        cells = (line.sent, line.waiting, line.hidden, f"{BAR * line.ready} {line.ready}", line.wanted)
        table.add_row(line.queue, *map(str, cells))
    return table


def show_picture(picture: str) -> None:
    """Print what ``top`` printed."""
    console.print("\nWhat `pipeline top` showed while all workers ran:\n")
    console.print(picture, markup=False)

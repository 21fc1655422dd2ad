"""Redraws ``pipeline top`` in place on a terminal, with rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.admin.top.monitor import Snapshot
from pipeline.cli.top_layout import lines


def can_draw() -> bool:
    """Return whether the terminal can be redrawn in place: with TERM=dumb rich prints nothing."""
    return not Console().is_dumb_terminal


@contextmanager
def screen() -> Iterator[Callable[[Snapshot], None]]:
    """Use the alternate screen of the terminal until the block ends; yield the function that draws."""
    console = Console()

    def draw(snapshot: Snapshot) -> None:
        live.update(picture(snapshot, console.width, console.height), refresh=True)

    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield draw


def picture(snapshot: Snapshot, width: int, height: int) -> Text:
    """Return a snapshot as styled text that fits the terminal."""
    shown = lines(snapshot, width, height - 1)
    return Text("\n").join(Text(line.text, line.style, no_wrap=True, overflow="crop") for line in shown)

"""A screen that is drawn again and again, for terminals with rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.admin.top.snapshot import Snapshot
from pipeline.cli.screen import lines


def can_draw() -> bool:
    """Say whether the terminal can be drawn on in place: with TERM=dumb rich shows nothing at all."""
    return not Console().is_dumb_terminal


@contextmanager
def screen() -> Iterator[Callable[[Snapshot], None]]:
    """Take the terminal until the block ends, and give it back as it was."""
    console = Console()

    def draw(snapshot: Snapshot) -> None:
        live.update(picture(snapshot, console.width, console.height), refresh=True)

    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield draw


def picture(snapshot: Snapshot, width: int, height: int) -> Text:
    """Return a picture with its styles; it counts rows that do not fit."""
    shown = lines(snapshot, width, height - 1)
    return Text("\n").join(Text(line.text, line.style, no_wrap=True, overflow="crop") for line in shown)

"""``pipeline top``."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from math import isnan
from time import sleep
from typing import Any

import click

from pipeline.admin.top.snapshot import Snapshot, Watch
from pipeline.cli.frame import app_of, guarded
from pipeline.cli.screen import lines
from pipeline.transport.queues import QueueError

COLUMNS = 80
"""Width where there is no terminal."""

REDRAW_SECONDS = 1.0
"""How often a terminal is drawn again, as ages move on; drawing asks nobody."""

Draw = Callable[[Snapshot], None]


class Interval(click.FloatRange):
    """Seconds from one to an hour. NaN is rejected, which every range would accept."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text."""
        seconds = float(super().convert(value, param, ctx))
        if isnan(seconds):
            self.fail(f"{value!r} is no number", param, ctx)
        return seconds


@click.command("top")
@click.option(
    "--interval",
    default=5.0,
    show_default=True,
    type=Interval(1.0, 3_600.0),
    help="Seconds between two looks at the queues.",
)
@click.option("--once", is_flag=True, help="Print one picture, without rates, and end.")
@click.pass_context
@guarded
def command(context: click.Context, *, interval: float, once: bool, as_json: bool) -> None:
    """Watch queues, workers, store and cost until Ctrl-C.

    Without a terminal that can be drawn on, or without rich, a picture is printed at each interval; with
    --json an object a line.
    """
    app, claimcheck = app_of(context)
    watch = Watch(app, claimcheck.store, interval)
    draw: Draw = _print_json if as_json else _print
    watch.start()
    try:
        watch.first()
        if once:
            watch.first_of_queues()
            draw(_answered(watch.snapshot()))
        else:
            _draw_on(watch, interval, draw, as_json=as_json)
    except KeyboardInterrupt:
        pass  # how one leaves
    finally:
        watch.stop()


def _answered(snapshot: Snapshot) -> Snapshot:
    if snapshot.queues is None:
        raise QueueError(snapshot.looks["queues"].error or "SQS did not answer; try again later")
    return snapshot


def _draw_on(watch: Watch, interval: float, draw: Draw, *, as_json: bool) -> None:
    screen = None if as_json else _screen()
    with screen or nullcontext(draw) as opened:
        while True:
            opened(watch.snapshot())
            sleep(min(interval, REDRAW_SECONDS) if screen else interval)


def _screen() -> AbstractContextManager[Draw] | None:
    """Return a screen that is drawn in place: only on a terminal that can, and only with rich."""
    if not sys.stdout.isatty():
        return None
    try:
        from pipeline.cli.live import can_draw, screen  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return None
    return screen() if can_draw() else None


def _print(snapshot: Snapshot) -> None:
    click.echo("\n".join(line.text.rstrip() for line in lines(snapshot, COLUMNS)) + "\n")


def _print_json(snapshot: Snapshot) -> None:
    click.echo(json.dumps(snapshot.as_json(), default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)

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

from pipeline.admin.top.monitor import Monitor, Snapshot
from pipeline.cli.app_option import app_of
from pipeline.cli.error_reports import reports_errors
from pipeline.cli.top_layout import lines
from pipeline.transport.queues import QueueError

COLUMNS = 80
"""Width where there is no terminal."""

REDRAW_SECONDS = 1.0
"""Redraw interval of a terminal: ages grow. Drawing makes no request."""

Draw = Callable[[Snapshot], None]


class Interval(click.FloatRange):
    """Seconds from one to an hour. Rejects NaN, which ``click.FloatRange`` accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the text."""
        seconds = float(super().convert(value, param, ctx))
        if isnan(seconds):
            self.fail(f"{value!r} is not a number", param, ctx)
        return seconds


@click.command("top")
@click.option(
    "--interval",
    default=5.0,
    show_default=True,
    type=Interval(1.0, 3_600.0),
    help="Seconds between two requests for queue depths.",
)
@click.option("--once", is_flag=True, help="Print one snapshot, without rates, and exit.")
@click.pass_context
@reports_errors
def command(context: click.Context, *, interval: float, once: bool, as_json: bool) -> None:
    """Monitor queues, workers, store and cost until Ctrl-C.

    Redraws in place on a terminal if rich is installed. Otherwise it prints a snapshot at each interval; with
    --json, one object a line.
    """
    app, claimcheck = app_of(context)
    monitor = Monitor(app, claimcheck.store, interval)
    draw: Draw = _print_json if as_json else _print
    monitor.start()
    try:
        monitor.wait_for_first()
        if once:
            monitor.wait_for_queues()
            draw(_answered(monitor.snapshot()))
        else:
            _redraw(monitor, interval, draw, as_json=as_json)
    except KeyboardInterrupt:
        pass  # the normal end
    finally:
        monitor.stop()


def _answered(snapshot: Snapshot) -> Snapshot:
    if snapshot.queues is None:
        raise QueueError(snapshot.polls["queues"].error or "SQS did not answer; try again later")
    return snapshot


def _redraw(monitor: Monitor, interval: float, draw: Draw, *, as_json: bool) -> None:
    screen = None if as_json else _screen()
    with screen or nullcontext(draw) as opened:
        while True:
            opened(monitor.snapshot())
            sleep(min(interval, REDRAW_SECONDS) if screen else interval)


def _screen() -> AbstractContextManager[Draw] | None:
    """Return a screen that redraws in place, or None without rich or without a capable terminal."""
    if not sys.stdout.isatty():
        return None
    try:
        from pipeline.cli.top_terminal import can_draw, screen  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return None
    return screen() if can_draw() else None


def _print(snapshot: Snapshot) -> None:
    click.echo("\n".join(line.text.rstrip() for line in lines(snapshot, COLUMNS)) + "\n")


def _print_json(snapshot: Snapshot) -> None:
    click.echo(json.dumps(snapshot.as_json(), default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)

"""What commands print: a table or one JSON object on stdout, and a progress bar on stderr."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any

import click

from pipeline.cli.tables import table


def show(value: dict[str, Any], rows: Iterable[Sequence[Any]], *, as_json: bool) -> None:
    """Print one JSON object, or a table whose first row is the header."""
    click.echo(json.dumps(_strict(value), default=_plain) if as_json else table(rows))


def progress(text: str) -> AbstractContextManager[Callable[[int], None]]:
    """Return a progress bar on stderr if stderr is a terminal and rich is installed."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    try:
        from pipeline.cli.progress_bar import bar  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return nullcontext(lambda _: None)
    return bar(text)


def _strict(value: Any) -> Any:
    """Return a value that JSON can represent: arguments may have keys of bytes, or NaN."""
    if isinstance(value, dict):
        return {_key(key): _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _key(key: Any) -> Any:
    return key if isinstance(key, str | int | float | None) else repr(key)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else repr(value)

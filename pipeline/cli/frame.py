"""Shared by all commands with ``-A``: the app, ``--json``, tables, errors and exit codes."""

import json
import math
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, NoReturn

import click
from celery.app.utils import find_app

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.cli.exit_codes import Failure
from pipeline.errors import PipelineError
from pipeline.serializer import serializer
from pipeline.telemetry.sizes import size
from pipeline.transport.queues import QueueError

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
)

_NUMBER = re.compile(r"-|[\d,.]+( bytes?| [KMGT]iB)?")

INTERRUPTED = "interrupted: the rest was not done; run the command again"


def guarded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json``, and print its errors as one sentence."""

    @wraps(command)
    def run(*args: Any, as_json: bool, **options: Any) -> Any:
        with reported(as_json=as_json):
            return command(*args, as_json=as_json, **options)

    return as_json_option(run)


class NotLoadedError(Exception):
    """The app's module raised an error that needs its traceback."""


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Print errors as one sentence on stderr, and as ``error`` in JSON, with exit code 2.

    An unexpected error is printed on stderr with its traceback. Its text is not in the JSON: it may hold
    secrets.
    """
    try:
        yield
    except (click.exceptions.Exit, click.ClickException):
        raise  # click handles these
    except NotLoadedError as exc:
        if not as_json:
            traceback.print_exception(exc.__cause__)
        raise _failed(str(exc), as_json=as_json) from exc
    except (PipelineError, QueueError, ValueError) as exc:
        raise _failed(str(exc), as_json=as_json) from exc
    except (click.Abort, KeyboardInterrupt, EOFError) as exc:
        raise _failed(INTERRUPTED, as_json=as_json) from exc
    except BrokenPipeError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout at exit
        raise Failure("the reader closed the pipe: read the output to its end") from exc
    except Exception as exc:
        if not as_json:
            traceback.print_exc()
        where = "printed without --json" if as_json else "above"
        text = f"unexpected {type(exc).__name__}: report it with its traceback, {where}"
        raise _failed(text, as_json=as_json) from exc


def _failed(text: str, *, as_json: bool) -> Failure:
    if as_json:
        click.echo(json.dumps({"error": text}))
    return Failure(text)


def app_of(context: click.Context) -> tuple[Any, ClaimCheck]:
    """Import the app that ``-A`` names and its tasks; return it with its claim check.

    Adds the queues of ``-Q`` to the app's own.

    Raises:
        ValueError: there is no such app, or its configuration is wrong.
        NotLoadedError: its module raised another error or called ``sys.exit``.
        ClaimError: the app did not call ``pipeline.install``.
    """
    params = context.find_root().params
    name = params.get("app")
    if not name:
        raise ValueError("no app: name it as for celery: pipeline -A tasks.app …")
    app = _loaded(name)
    _add_queues(app, params.get("queues") or "")
    return app, serializer.installed()


def program(context: click.Context) -> str:
    """Return the ``pipeline`` command with the same -A and -Q, for remedies."""
    params = context.find_root().params
    words = [("-A", params["app"]), ("-Q", params.get("queues"))]
    return shlex.join(["pipeline", *(word for pair in words if pair[1] for word in pair)])


def _loaded(name: str) -> Any:
    try:
        app = find_app(name)
        app.loader.import_default_modules()
        app.finalize(auto=True)
    except (ImportError, AttributeError, ValueError, PipelineError) as exc:
        raise ValueError(_not_loaded(name, exc)) from exc
    except (Exception, SystemExit) as exc:
        raise NotLoadedError(_not_loaded(name, exc)) from exc
    return app


def _not_loaded(name: str, exc: BaseException) -> str:
    return f"app {name!r} cannot be loaded: {type(exc).__name__}: {exc}"


def _add_queues(app: Any, names: str) -> None:
    queues = app.amqp.queues
    for name in filter(None, map(str.strip, names.split(","))):
        if name not in queues and name not in queues.aliases:
            queues.add(name)


def show(value: dict[str, Any], rows: Iterable[Sequence[Any]], *, as_json: bool) -> None:
    """Print one JSON object, or a table whose first row is the header."""
    click.echo(json.dumps(_strict(value), default=_plain) if as_json else table(rows))


def table(rows: Iterable[Sequence[Any]]) -> str:
    """Lay rows out in columns, numbers right-aligned; a row of empty strings is an empty line."""
    cells = [
        [_text(cell) for cell in row] if any(cell != "" for cell in row) else [""] * len(row) for row in rows
    ]
    columns = [_aligned(column) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def readable(name: str, value: Any) -> Any:
    """Format a value by its name: bytes get a unit."""
    return size(value) if name.endswith("_bytes") and isinstance(value, int) else value


def _aligned(column: Sequence[str]) -> list[str]:
    wide = max(map(len, column))
    numbers = column[1:] and all(_NUMBER.fullmatch(cell) for cell in column[1:])
    return [cell.rjust(wide) if numbers else cell.ljust(wide) for cell in column]


def leave(code: int) -> NoReturn:
    """End the command with an exit code."""
    click.get_current_context().exit(code)


def progress(text: str) -> AbstractContextManager[Callable[[int], None]]:
    """Return a progress bar on stderr if stderr is a terminal and rich is installed."""
    if not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    try:
        from pipeline.cli.progress_bar import bar  # noqa: PLC0415 - rich is an extra
    except ImportError:
        return nullcontext(lambda _: None)
    return bar(text)


def _text(cell: Any) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M:%S}Z"
    return f"{cell:,}" if isinstance(cell, int) else _printable(str(cell))


def _printable(text: str) -> str:
    """Escape control characters and what cannot be encoded: message headers are untrusted."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


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

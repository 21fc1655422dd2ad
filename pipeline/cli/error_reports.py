"""Errors of commands: one sentence, exit code 2, and no traceback unless something unexpected was raised."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import click

from pipeline.cli.app_option import NotLoadedError
from pipeline.cli.exit_codes import Failure
from pipeline.errors import PipelineError
from pipeline.transport.queues import QueueError

_JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")

INTERRUPTED = "interrupted: the rest was not done; run the command again"


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json``, and print its errors as one sentence."""

    @wraps(command)
    def run(*args: Any, as_json: bool, **options: Any) -> Any:
        with reporting_errors(as_json=as_json):
            return command(*args, as_json=as_json, **options)

    return _JSON_OPTION(run)


@contextmanager
def reporting_errors(*, as_json: bool) -> Iterator[None]:
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

"""The options ``-A`` and ``-Q``: load the app that they name."""

import shlex
from typing import Any

import click
from celery.app.utils import find_app

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import PipelineError
from pipeline.serializer import serializer


class NotLoadedError(Exception):
    """The app's module raised an error that needs its traceback."""


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

"""Gives each forked child its own connection to the result backend; Celery lets it inherit its parent's.

Celery's main process asks the backend when a child is lost. A child that is forked after that inherits the
open connection, and two processes that write to one connection garble it. With DynamoDB, results were
rejected as invalid and tasks that had run were recorded as failed. Backends on Redis or a database compare
the process id; those on boto3 do not.
Source: celery 5.7.0, ``worker/request.py`` (``_success_was_stored``), ``backends/dynamodb.py``, ``s3.py``.
"""

from typing import Any
from weakref import WeakSet

from celery import signals

from pipeline import undo

_apps: WeakSet[Any] = WeakSet()


def follow_forks(app: Any) -> None:
    """Renew the backend's client in each prefork child. Call it in the main process, once for each app."""
    _apps.add(app)
    undo.connect(signals.worker_process_init, _renew_all)


def _renew_all(**_: Any) -> None:
    for app in tuple(_apps):
        _renew(app.backend)


def _renew(backend: Any) -> None:
    if hasattr(backend, "_get_client"):
        backend._client = None  # noqa: SLF001 - made anew when it is first used
    if hasattr(backend, "_connect_to_s3"):
        backend._s3_resource = backend._connect_to_s3()  # noqa: SLF001

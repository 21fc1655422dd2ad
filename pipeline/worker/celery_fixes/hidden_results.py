"""Keeps what a task returns out of logs and events, where Celery shows the first 1,024 characters of it.

A task may return what it was given. One that sets ``resultrepr_maxsize`` itself is shown as it says.
Source: celery 5.7.0, ``app/trace.py`` (``Rstr``), ``app/task.py``, ``worker/request.py`` (``on_success``).
"""

import logging
from collections.abc import Iterable
from typing import Any

from celery import Task
from celery.utils.saferepr import saferepr

from pipeline import undo

NOT_SHOWN = "<not shown>"
_NOTHING = saferepr(None, 0)
"""What Celery makes of any result where it may take no characters."""


def hide_results(tasks: Iterable[Any]) -> None:
    """Let Celery take no text of these tasks' results. Call it before the pool exists."""
    for task in tasks:
        if task.resultrepr_maxsize == Task.resultrepr_maxsize:
            undo.put(task, "resultrepr_maxsize", 0)
    logger = logging.getLogger("celery.app.trace")
    logger.addFilter(_say_so)
    undo.later(logger.removeFilter, _say_so)


def shown(result: Any) -> Any:
    """Return what a monitor shows for the text that Celery has of a result."""
    return NOT_SHOWN if result == _NOTHING else result


def _say_so(record: logging.LogRecord) -> bool:
    if isinstance(record.args, dict) and "return_value" in record.args:
        record.args = {**record.args, "return_value": shown(record.args["return_value"])}
    return True

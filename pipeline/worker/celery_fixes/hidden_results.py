"""Keeps results out of logs and events; Celery shows their first 1,024 characters there.

A task may return its arguments. A task that sets ``resultrepr_maxsize`` itself keeps its own limit.
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
    """Set the length of shown results to 0 for these tasks. Call it before the pool exists."""
    for task in tasks:
        if task.resultrepr_maxsize == Task.resultrepr_maxsize:
            undo.put(task, "resultrepr_maxsize", 0)
    undo.add_filter(logging.getLogger("celery.app.trace"), _replace_result)


def shown(result: Any) -> Any:
    """Return the text of a result that monitors show."""
    return NOT_SHOWN if result == _NOTHING else result


def _replace_result(record: logging.LogRecord) -> bool:
    if isinstance(record.args, dict) and "return_value" in record.args:
        record.args = {**record.args, "return_value": shown(record.args["return_value"])}
    return True

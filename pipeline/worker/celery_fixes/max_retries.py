"""Keeps arguments out of the text of Celery's ``MaxRetriesExceededError``.

Source: celery 5.7.0, ``app/task.py``, ``Task.retry``: it formats ``args`` and ``kwargs`` into the message,
which goes to logs and to the result backend.
"""

from collections.abc import Iterable
from typing import Any

from celery import Task, exceptions

from pipeline import undo


class MaxRetriesExceededError(exceptions.MaxRetriesExceededError):
    """The task has been retried ``max_retries`` times. Except clauses for Celery's own class catch it.

    ``task_args`` and ``task_kwargs`` are there for handlers in the executing process, and stay there.
    """

    def __init__(self, message: str = "", **arguments: Any) -> None:
        super().__init__(message.partition(" args:")[0], **arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross the pool's pipe without the arguments."""
        return (type(self), self.args)


def hide_arguments(tasks: Iterable[Any]) -> None:
    """Let tasks raise our error, unless the application set its own class. Call it where tasks run."""
    for task in tasks:
        if task.MaxRetriesExceededError is Task.MaxRetriesExceededError:
            undo.put(task, "MaxRetriesExceededError", MaxRetriesExceededError)

"""Distinguish an explicit task serializer from the app default that Celery copied at bind time.

``Task.bind`` copies ``task_serializer`` to the class of a task without a serializer when the task is first
used. The task does not see later changes of the app's configuration.
Source: celery 5.7.0, ``app/task.py`` (``bind``, ``annotate``); pinned in ``test_installation.py``.
"""

from typing import Any

from celery import Task
from celery.app.annotations import resolve_all


def has_copied_serializer(task: Any) -> bool:
    """Return whether a bound task's serializer is a copy of the app's default at bind time."""
    owner = next(each for each in type(task).__mro__ if "serializer" in vars(each))
    names = list(vars(owner))
    # A class keeps the order in which it got its names, and binding begins with __bound__.
    was_set = "__bound__" not in names or names.index("serializer") < names.index("__bound__")
    return (owner is Task or not was_set) and not _is_annotated(task)


def _is_annotated(task: Any) -> bool:
    return any("serializer" in found for found in resolve_all(task.app.annotations, task))


def follow_serializer(tasks: Any, before: str, now: str) -> None:
    """Replace the copied serializer of tasks that were bound before ``install``."""
    for task in tasks:
        if task.serializer == before and has_copied_serializer(task):
            type(task).serializer = now
            task._exec_options = None  # noqa: SLF001 - Celery caches the serializer there, too

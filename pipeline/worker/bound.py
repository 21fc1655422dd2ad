"""Tells a serializer that a task was given on purpose from one that Celery copied.

``Task.bind`` copies ``task_serializer`` to the class of a task that names none, when the task is first
needed. What the app is configured with afterwards, the task does not see.
Source: celery 5.7.0, ``app/task.py`` (``bind``, ``annotate``); pinned in ``test_installation.py``.
"""

from typing import Any

from celery import Task
from celery.app.annotations import resolve_all


def has_copied_serializer(task: Any) -> bool:
    """Say whether a bound task has its serializer from the configuration of its app, as it was then."""
    owner = next(each for each in type(task).__mro__ if "serializer" in vars(each))
    names = list(vars(owner))
    # A class keeps the order in which it got its names, and binding begins with __bound__.
    was_set = "__bound__" not in names or names.index("serializer") < names.index("__bound__")
    return (owner is Task or not was_set) and not _is_annotated(task)


def _is_annotated(task: Any) -> bool:
    return any("serializer" in found for found in resolve_all(task.app.annotations, task))


def follow_serializer(tasks: Any, before: str, now: str) -> None:
    """Give bound tasks what they would have copied had the app been configured before: install comes late."""
    for task in tasks:
        if task.serializer == before and has_copied_serializer(task):
            type(task).serializer = now
            task._exec_options = None  # noqa: SLF001 - Celery caches the serializer there, too

"""What has become of a task, for a client that knows its id."""

import re
from typing import Any

import msgspec
from celery import Celery
from celery.result import AsyncResult
from celery.states import EXCEPTION_STATES, SUCCESS

from pipeline.gateway.errors import NotFoundError
from pipeline.results import size_bytes

RESULT_LIMIT_BYTES = 65_536
"""Largest result, in JSON, that the gateway passes on; a larger one is for a claim."""

READ_LIMIT_BYTES = 4 * RESULT_LIMIT_BYTES
"""Largest result, as this library encodes it, that the gateway reads: JSON of numbers may be shorter."""

_ID = re.compile(r"[\w.:@-]{1,255}\Z", re.ASCII)
"""Result backends make names of keys, rows or files of ids."""


class TaskState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task's state, as Celery names it, and its result once it has succeeded."""

    id: str
    state: str
    """``PENDING`` also means that nothing is known of such a task."""
    result: Any = None
    is_result_left_out: bool = False
    """Whether the result is too large, or of a type that JSON lacks. Decimals and times are texts."""
    error: str | None = None
    """Class of the exception of a task that failed. Its text may hold what the task was given."""


def state_of(app: Celery, task_id: str) -> TaskState:
    """Return the state of a task: one read of the result backend.

    Raises:
        NotFoundError: no task has such an id.
        Exception: whatever the result backend raises.
    """
    if not _ID.match(task_id):
        raise NotFoundError("no such task: its id is not one that this gateway has given out")
    found = AsyncResult(task_id, app=app)
    state = found.state
    if state in EXCEPTION_STATES:
        return TaskState(task_id, state, error=type(found.result).__name__)
    if state != SUCCESS:
        return TaskState(task_id, state)
    if (size_bytes(found) or 0) > READ_LIMIT_BYTES:
        return TaskState(task_id, SUCCESS, is_result_left_out=True)
    return _succeeded(task_id, found.result)


def _succeeded(task_id: str, result: Any) -> TaskState:
    try:
        encoded = msgspec.json.encode(result)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
        return TaskState(task_id, SUCCESS, is_result_left_out=True)
    if len(encoded) > RESULT_LIMIT_BYTES:
        return TaskState(task_id, SUCCESS, is_result_left_out=True)
    return TaskState(task_id, SUCCESS, result=msgspec.Raw(encoded))

"""What has become of a task, for a client that knows its id."""

from typing import Any

import msgspec
from celery import Celery
from celery.result import AsyncResult
from celery.states import EXCEPTION_STATES, SUCCESS

RESULT_LIMIT_BYTES = 65_536
"""Largest result, in JSON, that the gateway passes on; a larger one is for a claim."""


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
        Exception: whatever the result backend raises.
    """
    found = AsyncResult(task_id, app=app)
    state = found.state
    if state in EXCEPTION_STATES:
        return TaskState(task_id, state, error=type(found.result).__name__)
    if state != SUCCESS:
        return TaskState(task_id, state)
    return _succeeded(task_id, found.result)


def _succeeded(task_id: str, result: Any) -> TaskState:
    try:
        encoded = msgspec.json.encode(result)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
        return TaskState(task_id, SUCCESS, is_result_left_out=True)
    if len(encoded) > RESULT_LIMIT_BYTES:
        return TaskState(task_id, SUCCESS, is_result_left_out=True)
    return TaskState(task_id, SUCCESS, result=msgspec.Raw(encoded))

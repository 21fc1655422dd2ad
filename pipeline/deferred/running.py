"""The task that runs in this process, as Celery knows it; outside of a task, nothing."""

from collections.abc import Mapping
from typing import Any

from celery import current_task
from celery.states import READY_STATES, SUCCESS

from pipeline.claimcheck import revocations
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.headers import NAME
from pipeline.errors import PipelineError, RevokedWhileWaitingError
from pipeline.telemetry import log_fields, log_lines
from pipeline.telemetry.delivery_info import queue_of

logger = log_lines.logger(__name__)

LONG_WAIT_SECONDS = 10
"""A task that waits for less is not looked up: a retry after a second would cost a request each time."""


def request() -> Any:
    """Return the request of the task that runs here, or ``None``."""
    return current_task.request if current_task else None


def labels() -> tuple[str, str]:
    """Return queue and name of the task that runs here, or empty strings."""
    if not current_task:
        return "", ""
    return queue_of(current_task.request.delivery_info), current_task.name


def fields() -> dict[str, Any]:
    """Return the log fields of the task that runs here."""
    return log_fields.of_message(current_task.request, labels()[0])


def attempt_before(task_id: str, attempt: int) -> Any:
    """Return the request of the task that runs here if ``attempt`` is the one after it, else ``None``.

    Attempts count from 0, as Celery's ``retries`` does. ``Task.retry`` publishes the same id with one more;
    nothing else does: ``replace`` keeps the id and starts at 0. Source: celery 5.7.0, ``app/task.py``.
    """
    running = request()
    is_next = running is not None and running.id == task_id and (running.retries or 0) + 1 == attempt
    return running if is_next else None


def has_ended() -> bool:
    """Say whether the task that runs here has ended before, as far as its result backend knows.

    A FAILURE of our own does not count: the payload was missing then, too.
    """
    if not current_task:
        return False
    try:
        meta = current_task.backend.get_task_meta(current_task.request.id)
    except Exception:  # noqa: BLE001 - no backend, or one that does not answer: the end is not known
        return False
    if meta["status"] == SUCCESS:  # its result may be large: it is not read
        return True
    return meta["status"] in READY_STATES and not isinstance(meta["result"], PipelineError)


def check_not_revoked(claimcheck: ClaimCheck) -> None:
    """Check that the task that is about to run was not revoked while it waited: one GET, if that was long.

    Where the store does not answer within ``revocations.LOOK_UP_SECONDS``, the task runs: a store that does
    not answer must not hold up tasks that need nothing of it.

    Raises:
        RevokedWhileWaitingError: it was revoked.
    """
    if not _has_waited():
        return
    task_id = request().id
    try:
        is_revoked = revocations.is_revoked(claimcheck, task_id)
    except PipelineError as exc:
        logger.warning("task runs, whether it was revoked is not known: %s", exc, extra=fields())
        return
    if is_revoked:
        raise RevokedWhileWaitingError(f"task revoked [task_id={task_id}]: while it waited for its ETA")


def _has_waited() -> bool:
    described = request().get(NAME) if current_task else None
    seconds = described.get("wait_seconds") if isinstance(described, Mapping) else None
    return isinstance(seconds, int) and seconds >= LONG_WAIT_SECONDS

"""Releases the pool's slot of a request that did not reach the pool.

Celery takes a slot first, and then calls ``WorkController._process_task``. It gives the slot back if the task
was revoked. Any other exception keeps the slot for good, and the heartbeat hides the message. A worker
without slots does nothing, and looks healthy.
Source: celery 5.7.0, ``worker/worker.py`` (``_process_task``), ``worker/components.py`` (``Pool.create``).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker.state import task_ready


def guard_slots(worker: Any) -> None:
    """Guard the slots of a worker, in its main process. Call it once the worker knows its pool."""
    guarded = partial(_process, worker, worker._process_task)  # noqa: SLF001 - as above
    if worker.process_task == worker._process_task:  # noqa: SLF001 - of a pool without slots, messages get there
        worker.process_task = guarded
    worker._process_task = guarded  # noqa: SLF001


def _process(worker: Any, process: Callable[[Any], None], request: Any) -> None:
    consumer = worker.consumer
    try:
        process(request)
    except (MemoryError, *consumer.connection_errors, *consumer.channel_errors):
        raise  # these end the worker, or the connection and with it all that is reserved
    except Exception as exc:  # noqa: BLE001 - the worker must survive any message
        task_ready(request)
        _forget_job(worker.pool, request)
        try:
            consumer.on_unprocessed(request.message, exc)
        finally:
            getattr(worker, "_quick_release", bool)()  # prefork alone has slots


def _forget_job(pool: Any, request: Any) -> None:
    """Drop a job that could not be sent to a child; a pool that stops would wait for it.

    Source: billiard 4.3.2, ``pool.py`` (``apply_async`` keeps the job before it pickles it).
    """
    jobs = getattr(getattr(pool, "_pool", None), "_cache", {})
    for number, job in list(jobs.items()):
        if getattr(job, "_error_callback", None) == request.on_failure and not job.accepted():
            jobs.pop(number, None)

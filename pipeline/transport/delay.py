"""How long SQS delays a message until its ETA, so that no worker has to keep it.

A message carries up to 15 minutes as ``DelaySeconds``. FIFO queues do not support a delay per message.
Source: SQS API Reference, SendMessage, DelaySeconds.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.aws.limits import SQS_DELAY_LIMIT_SECONDS

RETRY_SECONDS = 1
"""Least delay of a retry. Celery sends it first and then stores RETRY, unless SUCCESS is there
already; a retry that runs to its end in between has its SUCCESS overwritten, and ``get()``
never returns: 4 of 208 tasks on idle workers ended so. A FIFO queue shows none before the
message of its attempt is deleted, as they are of one group, and RETRY is stored before that
unless the message was acknowledged early.
Source: celery 5.7.0, ``app/task.py`` (``retry``), ``backends/base.py`` (``_store_result``); seen."""


def delay_seconds(headers: Mapping[str, Any] | None, kept_seconds: int = 0) -> int:
    """Return ``DelaySeconds`` for a message with these headers, 0 for one that may run now.

    Args:
        headers: those of the task.
        kept_seconds: longest wait for an ETA that is left to the worker.
    """
    headers = headers or {}
    wait = math.ceil(remaining_seconds(headers))
    soonest = RETRY_SECONDS if headers.get("retries") else 0
    return min(wait, SQS_DELAY_LIMIT_SECONDS) if wait > max(kept_seconds, soonest) else soonest


def remaining_seconds(headers: Mapping[str, Any]) -> float:
    """Return how long it is until the ETA of a task, 0 if it has none or if it cannot be read.

    Source of the header: celery 5.7.0, ``app/amqp.py``, ``as_task_v2``; without an offset it is UTC.
    """
    try:
        eta = datetime.fromisoformat(headers["eta"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    eta = eta if eta.tzinfo else eta.replace(tzinfo=UTC)
    return max((eta - datetime.now(UTC)).total_seconds(), 0.0)

"""How long a message is to stay away before its ETA: in SQS, and not in a worker that might die with it.

Up to 15 minutes travel with the message as ``DelaySeconds``. FIFO queues know no such thing.
Source: SQS API Reference, SendMessage, DelaySeconds.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LIMIT_SECONDS = 900
"""Longest ``DelaySeconds``."""


def delay_seconds(headers: Mapping[str, Any] | None) -> int:
    """Return ``DelaySeconds`` for a message with these headers, 0 for one that may run now."""
    return min(math.ceil(remaining_seconds(headers or {})), LIMIT_SECONDS)


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

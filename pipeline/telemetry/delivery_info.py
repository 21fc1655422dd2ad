"""The queue that a task came from, in its delivery info, which reaches pool children and retries too.

The transport and the worker know the queue. The process that runs the task needs it for metrics and logs,
and the publisher needs it for a retry: on SQS, the exchange and routing key of an attempt may lead elsewhere.
Celery sends the delivery info to the process that runs the task, and ``Task.retry`` passes all of it as
options of the message that it publishes. So the two items below travel in it. The publisher takes them out
of the options, which Celery would send as properties.
Source: celery 5.7.0, ``worker/request.py`` (``Request``), ``app/task.py`` (``signature_from_request``).
"""

from collections.abc import Mapping
from typing import Any

QUEUE_NAME = "sqs_queue_name"
"""The queue that our SQS transport received a message from: the routing key is what its sender wrote."""

BROADCAST = "claimcheck_broadcast"
"""The exchange of a broadcast: each worker receives it over a queue of its own, unknown elsewhere."""


def queue_of(delivery_info: Mapping[str, Any] | None) -> str:
    """Return the name of the queue that a task came from: of a broadcast, that of its exchange."""
    info = delivery_info or {}
    return str(next(filter(None, map(info.get, (BROADCAST, QUEUE_NAME, "routing_key"))), ""))


def take_from(options: dict[str, Any]) -> str | None:
    """Remove both items from the options of a retry, and return the queue to send it to.

    ``None`` if there is none: then the options say where the message goes.
    """
    options.pop(BROADCAST, None)
    queue: str | None = options.pop(QUEUE_NAME, None)
    return queue

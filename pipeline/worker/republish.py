"""Sends a message once more, as it is: the same task, the same claim."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.claimcheck.publication import SHARED
from pipeline.telemetry.log_fields import BROADCAST, QUEUE_NAME, queue_of
from pipeline.transport.addressing import LISTENER

_KEPT = ("correlation_id", "reply_to", "priority", "MessageGroupId")
"""Properties that say something to others than the queue it came from. Source: kombu 5.7.0, SQS transport."""


def resend(app: Any, message: Any, headers: Mapping[str, Any]) -> None:
    """Publish a message's body again, with these headers. Runs in the worker's main process.

    It goes to the queue that it came from. Its exchange need not be known to this connection, and then it
    would go nowhere, without an error. And its body is not compressed as it may have been: Kombu has expanded
    it, and its header would lie.

    Raises:
        Exception: whatever the broker says. It may have arrived all the same.
    """
    info, properties = message.delivery_info, message.properties
    queue = _queue(message)
    with app.producer_or_acquire() as producer:
        producer.publish(
            message.body,
            exchange="" if queue else info.get("exchange") or "",
            routing_key=queue or info["routing_key"],
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers={name: value for name, value in headers.items() if name != "compression"},
            retry=True,
            **{name: properties[name] for name in _KEPT if name in properties},
        )


def is_broadcast(message: Any) -> bool:
    """Say whether a message came over a listener's queue: all workers have one like it, each its own."""
    return LISTENER in str(_info(message).get("sqs_queue", ""))


def origin(message: Any) -> dict[str, str]:
    """Return what a task's delivery info must also say: the queue that it is counted for and retried on.

    Celery sends a retry to the exchange and routing key of its attempt, which on SQS lead to queues that this
    process knows alone, or to another one than this worker's.
    """
    if is_broadcast(message):
        return {BROADCAST: _info(message).get("exchange", "")}
    queue = _queue(message)
    return {QUEUE_NAME: queue} if queue else {}


def label(message: Any) -> str:
    """Return the name of a message's queue, as metrics and logs have it."""
    return queue_of({**_info(message), **origin(message)})


def _queue(message: Any) -> str | None:
    return None if is_broadcast(message) else _info(message).get(QUEUE_NAME)


def _info(message: Any) -> Mapping[str, Any]:
    return getattr(message, "delivery_info", None) or {}


def is_shared(message: Any) -> bool:
    """Say whether others have a copy of a message, and so its payload: nobody knows who is the last."""
    return is_broadcast(message) or bool(message.headers.get(SHARED))


def next_attempt(headers: Mapping[str, Any], countdown_seconds: float) -> dict[str, Any]:
    """Return a task's headers for one attempt more, which may run after the countdown."""
    return {**later(headers, countdown_seconds), "retries": (headers.get("retries") or 0) + 1}


def later(headers: Mapping[str, Any], countdown_seconds: float) -> dict[str, Any]:
    """Return a task's headers for the same attempt, which may run after the countdown."""
    eta = datetime.now(UTC) + timedelta(seconds=countdown_seconds)
    return {**headers, "eta": eta.isoformat()}

"""Sends a message once more, as it is: the same task, the same claim."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_KEPT = ("correlation_id", "reply_to", "priority", "MessageGroupId")
"""Properties that say something to others than the queue it came from. Source: kombu 5.7.0, SQS transport."""


def resend(app: Any, message: Any, headers: Mapping[str, Any]) -> None:
    """Publish a message's body again, with these headers. Runs in the worker's main process.

    The body is not compressed as it may have been: Kombu has expanded it, and its header would lie.

    Raises:
        Exception: whatever the broker says. It may have arrived all the same.
    """
    info, properties = message.delivery_info, message.properties
    with app.producer_or_acquire() as producer:
        producer.publish(
            message.body,
            exchange=info.get("exchange") or "",
            routing_key=info["routing_key"],
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers={name: value for name, value in headers.items() if name != "compression"},
            retry=True,
            **{name: properties[name] for name in _KEPT if name in properties},
        )


def next_attempt(headers: Mapping[str, Any], countdown_seconds: float) -> dict[str, Any]:
    """Return a task's headers for one attempt more, which may run after the countdown."""
    return {**later(headers, countdown_seconds), "retries": (headers.get("retries") or 0) + 1}


def later(headers: Mapping[str, Any], countdown_seconds: float) -> dict[str, Any]:
    """Return a task's headers for the same attempt, which may run after the countdown."""
    eta = datetime.now(UTC) + timedelta(seconds=countdown_seconds)
    return {**headers, "eta": eta.isoformat()}

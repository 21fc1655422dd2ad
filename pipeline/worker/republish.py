"""Publishes a message again: the same task, the same claim."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.claimcheck.headers import SHARED
from pipeline.telemetry.delivery_info import BROADCAST, QUEUE_NAME, queue_of
from pipeline.transport.addressing import LISTENER
from pipeline.transport.send.collecting import making
from pipeline.transport.send.entries import Entry

_KEPT = ("correlation_id", "reply_to", "priority", "MessageGroupId")
"""Properties that matter beyond the queue that the message came from. Source: kombu 5.7.0, SQS transport."""


def republish_message(app: Any, message: Any, headers: Mapping[str, Any]) -> None:
    """Publish a message's body again, with these headers. Runs in the worker's main process.

    It goes to the queue that it came from: this connection may not know its exchange, and Kombu would then
    drop it without an error. Kombu has expanded a compressed body, so the ``compression`` header is left out.

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


def message_again(app: Any, message: Any) -> Entry:
    """Return what a message is sent again with. Runs in any thread of the worker's main process.

    Raises:
        Exception: whatever Kombu says.
    """
    with making(message.headers["id"]) as made:
        republish_message(app, message, message.headers)
    (entry,) = made
    return entry


def is_broadcast(message: Any) -> bool:
    """Return whether a message came over a listener's queue. Each worker has its own copy of a broadcast."""
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
    """Return whether others have a copy of the message, and so share its payload."""
    return is_broadcast(message) or message.headers.get(SHARED) is not None


def sqs_queue(message: Any) -> str:
    """Return SQS's name of a message's queue; empty if another transport received it."""
    return str(_info(message).get("sqs_queue") or "").rpartition("/")[2]


def next_attempt(headers: Mapping[str, Any], countdown_seconds: float) -> dict[str, Any]:
    """Return a task's headers for one attempt more, which may run after the countdown."""
    return {**with_eta(headers, countdown_seconds), "retries": (headers.get("retries") or 0) + 1}


def with_eta(headers: Mapping[str, Any], countdown_seconds: float) -> dict[str, Any]:
    """Return a task's headers for the same attempt, which may run after the countdown."""
    eta = datetime.now(UTC) + timedelta(seconds=countdown_seconds)
    return {**headers, "eta": eta.isoformat()}

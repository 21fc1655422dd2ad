"""Turns what SQS delivers into the envelope that Kombu expects, whoever has sent it.

A message may hold anything. An error that Kombu raises while it unpacks one ends the worker's event loop, so
what cannot be unpacked gets an empty envelope, and the worker rejects it like
any message that is no task. SQS keeps the message itself as it is.
Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``_message_to_python``), ``transport/virtual/base.py``
(``Message``), ``message.py``.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.telemetry.delivery_info import QUEUE_NAME

Envelope = dict[str, Any]

LIMIT = "sqs_max_receive_count"
"""Key of the delivery info: the queue's maxReceiveCount, ``None`` without a dead-letter queue."""

COMPRESSION = "compression"
"""Header that names how Kombu has compressed the body."""


class _Body(str):
    """A text that is not shown: Celery logs the delivery info whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} characters>"


def received(
    envelope: Envelope,
    sqs_message: Mapping[str, Any],
    queue: str,
    queue_url: str,
    max_receive_count: int | None,
) -> Envelope:
    """Return the envelope of a message that was received, without a body if Kombu could not use it."""
    if not _is_valid(envelope):
        info = {"sqs_message": sqs_message, "sqs_queue": queue_url}
        envelope = {"properties": {"delivery_tag": sqs_message["ReceiptHandle"], "delivery_info": info}}
    info = envelope["properties"]["delivery_info"]
    info[QUEUE_NAME] = queue
    if "sqs_message" in info:
        info["sqs_message"] = {**sqs_message, "Body": _Body(sqs_message["Body"])}
    if not isinstance(info.get("routing_key"), str):
        info["routing_key"] = queue
    # As Kombu's Redis transport sets it; Celery's worker_deduplicate_successful_tasks reads it.
    info["redelivered"] = receive_count(sqs_message) > 1
    info[LIMIT] = max_receive_count
    return envelope


def emptied(envelope: Envelope) -> Envelope:
    """Return an envelope with nothing from its sender."""
    properties = envelope["properties"]
    return {"properties": {name: properties[name] for name in ("delivery_tag", "delivery_info")}}


def uncompressed(envelope: Envelope) -> Envelope:
    """Return an envelope whose body Kombu does not expand."""
    headers = envelope.get("headers") or {}
    kept = {name: value for name, value in headers.items() if name != COMPRESSION}
    return {**envelope, "headers": kept}


def receive_count(sqs_message: Mapping[str, Any]) -> int:
    """Return how often SQS has delivered a message, this time included."""
    return max(int((sqs_message.get("Attributes") or {}).get("ApproximateReceiveCount", 1)), 1)


def _is_valid(envelope: Envelope) -> bool:
    """Return whether the fields that Celery and Kombu use without a check have the right types."""
    texts = ("content-type", "content-encoding")
    properties = envelope.get("properties")
    return (
        isinstance(properties, dict)
        and isinstance(properties.get("delivery_info"), dict)
        and isinstance(envelope.get("headers"), dict | None)
        and all(isinstance(envelope.get(name), str | None) for name in texts)
    )

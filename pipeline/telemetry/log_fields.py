"""Structured fields of log lines: the same few names on every line, so that lines can be joined.

``task_id``, ``task_name``, ``queue``, ``attempt`` (0 is the first), ``trace_id``, ``claim_key``,
``payload_bytes`` (as the task sees it) and ``stored_bytes`` (as it is stored). They travel in
``extra``: any formatter that prints a record's attributes shows them. What is not known is None. Arguments
are never among them. docs/operate/tracing.md has a way to print them as JSON.
"""

from typing import Any, Protocol

_PARTS = 4
"""Of a ``traceparent``. Source: W3C Recommendation "Trace Context", 3.2.2."""


class Headers(Protocol):
    """A message's headers, or the context that Celery makes of them."""

    def get(self, key: str, /) -> Any:
        """Return a header, or None."""


class Payload(Protocol):
    """What travels inline, or a claim, which has a ``key`` and a ``size_bytes`` too."""

    @property
    def expanded_bytes(self) -> int:
        """Return the size that the task sees."""


def of_message(headers: Headers, queue: str | None = None) -> dict[str, Any]:
    """Return what is known of a message, in any process; headers may hold anything."""
    return {
        "task_id": headers.get("id"),
        "task_name": headers.get("task"),
        "queue": queue or None,
        "attempt": headers.get("retries") or 0,
        "trace_id": _trace_id(headers.get("traceparent")),
    }


def of_payload(payload: Payload | None) -> dict[str, Any]:
    """Return what is known of a payload without reading it: of one that is inline, its size alone."""
    return {
        "claim_key": getattr(payload, "key", None),
        "payload_bytes": payload.expanded_bytes if payload else None,
        "stored_bytes": getattr(payload, "size_bytes", None),
    }


def _trace_id(traceparent: object) -> str | None:
    parts = traceparent.split("-") if isinstance(traceparent, str) else []
    return parts[1] if len(parts) >= _PARTS else None

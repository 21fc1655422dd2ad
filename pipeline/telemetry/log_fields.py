"""Structured fields of log lines, with the same names on every line, so that lines can be joined.

``task_id``, ``task_name``, ``queue``, ``attempt`` (0 is the first), ``trace_id``, ``claim_key``,
``payload_bytes`` (as the task sees it) and ``stored_bytes`` (as it is stored). They are in ``extra``: a
formatter that prints a record's attributes shows them. Unknown fields are None. Task arguments are never
fields. docs/operate/tracing.md shows how to print them as JSON.
"""

from typing import Any, Protocol

_PARTS = 4
"""Parts of a ``traceparent``. Source: W3C Recommendation "Trace Context", 3.2.2."""


class Headers(Protocol):
    """A message's headers, or the context that Celery makes of them."""

    def get(self, key: str, /) -> Any:
        """Return a header, or None."""


class Payload(Protocol):
    """An inline body, or a claim or handle, which also has ``key`` and ``size_bytes``."""

    @property
    def expanded_bytes(self) -> int | None:
        """Return the size that the task sees, as far as it is known."""


def of_message(headers: Headers, queue: str | None = None) -> dict[str, Any]:
    """Return the fields of a message, in any process; headers are untrusted."""
    return {
        "task_id": headers.get("id"),
        "task_name": headers.get("task"),
        "queue": queue or None,
        "attempt": headers.get("retries") or 0,
        "trace_id": _trace_id(headers.get("traceparent")),
    }


def of_payload(payload: Payload | None) -> dict[str, Any]:
    """Return the fields of a payload without reading it; for an inline body only its size."""
    return {
        "claim_key": getattr(payload, "key", None),
        "payload_bytes": payload.expanded_bytes if payload else None,
        "stored_bytes": getattr(payload, "size_bytes", None),
    }


def _trace_id(traceparent: object) -> str | None:
    parts = traceparent.split("-") if isinstance(traceparent, str) else []
    return parts[1] if len(parts) >= _PARTS else None

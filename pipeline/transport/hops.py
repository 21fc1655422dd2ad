"""Hops: a message is sent again with a delay, and the one that was received is deleted after that.

A delayed message does not count as in flight, and SQS limits how many messages of a queue may be. A message
is in flight while it hops: if its worker dies between the two calls, there are two.
Source: SQS Developer Guide, "Amazon SQS message quotas".
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pipeline.telemetry import log_lines
from pipeline.transport.send.entries import Entry, send_apart
from pipeline.transport.send.failures import Failure

logger = log_lines.logger(__name__)


class Hop(NamedTuple):
    """What follows a message that hops."""

    make: Callable[[], Entry]
    """Returns the message to send, with the delay that is right now."""
    keep: Callable[[], object]
    """Called if SQS does not take it; the message that was received stays in flight."""


def send(hops: Iterable[Hop]) -> list[Failure | None]:
    """Send the messages of hops of one queue, and return what is known of each that is not confirmed."""
    made = [_made(hop) for hop in hops]
    entries = [each for each in made if isinstance(each, Entry)]
    unsent: dict[Entry, Failure] = send_apart(entries) if entries else {}
    return [unsent.get(each) if isinstance(each, Entry) else each for each in made]


def _made(hop: Hop) -> Entry | Failure:
    try:
        return hop.make()
    except Exception as exc:  # noqa: BLE001 - whatever Kombu raises: the others must hop
        return Failure(type(exc).__name__, is_certain=True, is_transient=False)


def note_failure(message: Any, failure: Failure) -> None:
    """Note and log that a message does not hop."""
    message.is_hopping = False
    fields = {"task_id": (message.headers or {}).get("id"), "code": failure.code}
    logger.error(
        "message not postponed, it waits in this worker: SQS answered %s", failure.code, extra=fields
    )

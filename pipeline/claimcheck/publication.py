"""The publication in progress, passed from the publisher to the serializer.

A Kombu encoder sees only the body. Its caller knows headers, task and queue.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.message_size import Envelope

SHARED = "claimcheck-shared"
"""Header of a message that went to several queues at once: its payload is not for one of them to release."""

NAME = "claimcheck"
"""Of the serializer, and of the header that says what travels: sizes, key, how long the task is to wait."""

SEE_ARGS = "<see args>"
"""What monitors show as keyword arguments: they are in one payload with the positional ones."""


@dataclass(slots=True)
class Publication:
    """One message on its way to the broker."""

    task: str = ""
    task_id: str = ""
    queue: str = ""
    envelope: Envelope = field(default_factory=Envelope)
    """What travels beside its body."""
    wait_seconds: float = 0.0
    """How long it is until the task may run: its ETA."""
    claims: list[Claim] = field(default_factory=list)
    """What was offloaded for it: to be released if it is never sent."""
    is_sent: bool = False
    """Whether the broker has confirmed it: whatever fails after that, its payload is in use."""
    is_unclear: bool = False
    """Whether an earlier try to send it may have arrived: Celery and Kombu try again, and may encode anew."""
    reuse: bytes | None = None
    """Mark of the attempt whose payload it takes over instead; see ``deferred/child_pipe.py``."""

    @property
    def headers(self) -> dict[str, Any]:
        """The message's own headers."""
        return self.envelope.headers


def id_text(value: object) -> str:
    """Return the text of a task's id, as Celery's result backends make it of a UUID and of bytes.

    Source: celery 5.7.0, ``backends/base.py`` (``KeyValueStoreBackend._get_key_for``).

    Raises:
        ValueError: the id is bytes that are no UTF-8.
    """
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise ValueError("task_id is bytes that are not UTF-8: pass a str or a uuid.UUID") from None


_current: ContextVar[Publication | None] = ContextVar("publication", default=None)


def current() -> Publication:
    """Return the publication under way in this thread or greenlet, or an empty one."""
    return _current.get() or Publication()


@contextmanager
def publishing(publication: Publication) -> Iterator[Publication]:
    """Make ``publication`` the current one."""
    token = _current.set(publication)
    try:
        yield publication
    finally:
        _current.reset(token)

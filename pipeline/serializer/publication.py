"""The publication in progress: what is known of a message beside its body, and how its body was encoded.

Kombu gives an encoder the body alone, and takes bytes alone from it. Whoever publishes knows headers, task
and queue, and must know what was offloaded, to release it if the message is never sent. A context variable
carries both past Kombu. ``serializer.encode`` alone writes to it, the publisher alone reads what is written.
Source: kombu 5.7.0, ``serialization.py`` (``dumps``), ``messaging.py`` (``Producer._prepare``).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pipeline.claimcheck import installed, ledger
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.message_size import Envelope
from pipeline.claimcheck.packs.upload import Upload
from pipeline.claimcheck.packs.uploads import Collected, Uploads


@dataclass(frozen=True, slots=True)
class Encoded:
    """What was made of a body."""

    data: bytes
    """Its wire form."""
    headers: Mapping[str, Any] = field(default_factory=dict)
    """What its message's headers say of it."""
    claim: Claim | None = None
    """The claim, if a payload was offloaded: to be released if the message is never sent."""
    reused: Claim | None = None
    """The claim of the attempt before it, if it takes that payload over instead."""
    marks: tuple[bytes, ...] = ()
    """What the main process was sent about it; see ``deferred/child_pipe.py``."""

    def __repr__(self) -> str:
        """Show nothing of the body: error trackers show what is in a frame."""
        return f"Encoded({len(self.data)} bytes, claim={self.claim!r})"


@dataclass(frozen=True, slots=True)
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
    """What was offloaded for it: at each try to send it, as Celery and Kombu may encode its body anew."""
    marks: list[bytes] = field(default_factory=list)
    """What main processes must forget if it is never sent."""
    named: list[Claim] = field(default_factory=list)
    """The claims that its messages have named, at each try to send it."""
    uploads: Uploads | None = None
    """Those of its batch, if threads store the payloads."""
    collected: list[Collected] = field(default_factory=list)
    """The claims among them whose payloads are on their way, or were."""
    ledgers: list[str] = field(default_factory=list)
    """Keys of the payloads that have a ledger, because several queues get the message."""

    @property
    def headers(self) -> dict[str, Any]:
        """The message's own headers."""
        return self.envelope.headers

    def note(self, encoded: Encoded) -> None:
        """Note what was made of its body; the wire form itself is Kombu's."""
        self.headers.update(encoded.headers)
        if encoded.claim is not None:
            self.claims.append(encoded.claim)
        self.named.extend(filter(None, [encoded.claim or encoded.reused]))
        self.marks.extend(encoded.marks)

    @property
    def upload(self) -> Upload | None:
        """The upload of the payload that its messages name."""
        return self.collected[-1].upload if self.collected else None

    def withdraw(self) -> None:
        """Keep payloads from being stored, or wait for them: none is to arrive after it was released."""
        for each in self.collected:
            if not each.upload.remove(each.claim):
                each.upload.error()

    def share(self, queues_count: int) -> bool:
        """Give the payload a ledger, before its message goes to several queues; say whether it has one.

        Raises:
            StoreError: the ledger was not made.
        """
        claimcheck = installed.found()
        if self.upload is not None and self.upload.share(self.collected[-1].claim, queues_count):
            return True
        if not self.named or claimcheck is None or not ledger.is_kept_by(claimcheck):
            return False
        self.ledgers.append(self.named[-1].key)
        ledger.make(claimcheck, self.named[-1].key, queues_count)
        return True


_current: ContextVar[Publication | None] = ContextVar("publication", default=None)


def current() -> Publication:
    """Return the publication in progress in this thread or greenlet, or an empty one."""
    return _current.get() or Publication()


@contextmanager
def publishing(publication: Publication) -> Iterator[Publication]:
    """Make ``publication`` the current one."""
    token = _current.set(publication)
    try:
        yield publication
    finally:
        _current.reset(token)

"""One object on its way into the store, for messages of one batch."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from typing import Any, NamedTuple, cast

from msgspec.structs import replace

from pipeline.claimcheck.claim import Claim, digest_of
from pipeline.claimcheck.object_metadata import TaskLabels
from pipeline.claimcheck.packs.threads import Threads


class Part(NamedTuple):
    """A payload on its way into the store."""

    claim: Claim
    data: bytes
    labels: TaskLabels
    """The task that it is for."""
    noted: Callable[[], None]
    """Called when it is stored."""


class Upload:
    """An object that a thread stores, once it has begun; it never begins twice. This one has one payload.

    Args:
        threads: those of the batch.
        store: puts the object into the store.
        key: of the object.
    """

    def __init__(self, threads: Threads, store: Callable[["Upload"], None], key: str) -> None:
        self._threads = threads
        self._store = store
        self.key = key
        self.size_bytes = 0
        self.parts: list[Part] = []
        self._stored: Future[Any] | None = None

    @property
    def takes_more(self) -> bool:
        """Whether it waits for further payloads, as a pack does."""
        return False

    @property
    def members_count(self) -> int | None:
        """How many members its ledger has; ``None`` without one."""
        return None

    @property
    def has_begun(self) -> bool:
        """Whether it is on its way, or was."""
        return self._stored is not None

    @property
    def is_over(self) -> bool:
        """Whether it is stored, or has failed."""
        return self._stored is not None and self._stored.done()

    def add(self, part: Part) -> None:
        """Add a payload, which is at its end."""
        self.parts.append(part)
        self.size_bytes += len(part.data)

    def whole(self) -> Part:
        """Return the object as if it were one payload."""
        first, *others = self.parts
        if not others:
            return first._replace(claim=replace(first.claim, offset=None))
        data = b"".join(part.data for part in self.parts)
        claim = replace(
            first.claim,
            offset=None,
            size_bytes=len(data),
            digest=digest_of(data),
            expanded_bytes=sum(part.claim.expanded_bytes for part in self.parts),
        )
        return first._replace(claim=claim, data=data, labels=first.labels._replace(task_id=""))

    def begin(self) -> None:
        """Begin to store the object."""
        if self._stored is None:
            self._stored = self._threads.run(lambda: self._store(self))

    def wait(self) -> None:
        """Wait until the object is stored; begin, if that has not happened.

        Raises:
            PipelineError: it was not stored.
        """
        if (error := self.error()) is not None:
            raise error

    def error(self) -> BaseException | None:
        """Wait as ``wait`` does, and return why the object was not stored; ``None`` if it was.

        What interrupts the wait itself is raised: a soft time limit is no fault of the upload.
        """
        self.begin()
        stored = cast("Future[Any]", self._stored)
        wait([stored])
        return CancelledError() if stored.cancelled() else stored.exception()

    def share(self, claim: Claim, queues_count: int) -> bool:  # noqa: ARG002 - of a pack
        """Count a payload once for each queue that its message goes to; say whether that is possible."""
        return False

    def is_for_one(self, claim: Claim) -> bool:  # noqa: ARG002 - of a pack
        """Say whether a payload is a member of a ledger, and one message alone names it."""
        return False

    def remove(self, claim: Claim) -> bool:  # noqa: ARG002 - of a pack
        """Let no message name a payload; say whether it is not too late for that."""
        return False

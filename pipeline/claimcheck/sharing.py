"""Shared values: uploaded once, named by many tasks, each of which gets the value itself.

``shared`` stores a value, and what it returns stands for it in a task's arguments. The encoder notes what it
meets there, because a message says which shared payloads it names, so that its worker can count its end
(``ledger.py``). Serializers other than this library's would not say it, so they get an error.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Share, digest_of
from pipeline.claimcheck.handles.handle import Handle, arrived
from pipeline.claimcheck.handles.source import Source
from pipeline.claimcheck.handles.stores import store_of
from pipeline.claimcheck.installed import installed
from pipeline.claimcheck.keys import TTL_CLASSES_DAYS, new_handle_key
from pipeline.errors import FramesDropped, PayloadEncodeError
from pipeline.metrics.table import HANDLE_STORED_BYTES, PAYLOADS_OFFLOADED
from pipeline.options import DAY_SECONDS

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

NO_ARGUMENT = (
    "what pipeline.shared() returned is no argument of a task in the serializer claimcheck: pass the value "
    "itself, or its handle"
)

MARKER = "claimcheck-shared"
"""Name of the type in this library's serializer."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Stands for a shared value in the arguments of tasks; see ``shared``."""

    handle: Handle
    """Its payload: ``load()`` reads the value anywhere, ``delete()`` ends it before its tasks have ended."""

    def __deepcopy__(self, memo: Any) -> "Shared":
        """Be the same in each copy of a signature."""
        return self


def shared(value: Any, *, uses: int, ttl_days: int | None = None) -> Shared:
    """Upload a value once for several tasks, and return what stands for it in their arguments.

    Each task gets the value itself. When ``uses`` tasks have ended and their messages are deleted, the
    payload is deleted. Runs in any process where ``pipeline.install`` was called; the upload is done when
    this returns.

    Args:
        value: as a task's argument may be.
        uses: how many tasks get it; a task that goes to two queues counts twice, its retries do not count.
        ttl_days: 1, 7, 30 or 90: the end of a payload that fewer tasks use. By default the shortest that is
            no shorter than ``payload_ttl_seconds``.

    Raises:
        ClaimError: ``pipeline.install`` was not called in this process.
        ValueError: an argument is out of range, or the store has no conditional writes.
        PayloadEncodeError: the value cannot be serialised.
        PayloadTooLargeError: it is above ``payload_limit_bytes``.
        StoreUnavailableError: the store stayed unavailable for ``store_retry_seconds``.
        StoreDeniedError: the store denies access.
    """
    claimcheck = installed()
    ledger.check_members_count(uses)
    key = new_handle_key(claimcheck.store.prefix, ttl_days or _ttl_days(claimcheck))
    with FramesDropped():
        claim = claimcheck.offload(claimcheck.seal(value), key=key).claim
        ledger.make_or_delete(claimcheck, key, uses)
    claimcheck.recorder.record(PAYLOADS_OFFLOADED)
    claimcheck.recorder.record(HANDLE_STORED_BYTES, claim.size_bytes)
    return Shared(
        Handle(
            store=claim.store,
            key=key,
            size_bytes=claim.size_bytes,
            digest=claim.digest,
            codec=claim.codec,
            compression=claim.compression,
            expanded_bytes=claim.expanded_bytes,
            uses=uses,
            created=claim.created,
        )
    )


def _ttl_days(claimcheck: "ClaimCheck") -> int:
    days = claimcheck.options.payload_ttl_seconds / DAY_SECONDS
    return next((each for each in TTL_CLASSES_DAYS if each >= days), TTL_CLASSES_DAYS[-1])


def read(claimcheck: "ClaimCheck", handle: Handle, queue: str = "", task: str = "") -> Any:
    """Return a shared value, in the process that executes the task: one GET.

    Args:
        claimcheck: of this process.
        handle: the value's.
        queue: of the task, for metrics and spans.
        task: its name.

    Raises:
        PipelineError: as ``Handle.load``.
    """
    return Source(claimcheck, store_of(claimcheck, handle), handle).load(queue, task)


def is_same(claimcheck: "ClaimCheck", value: Any, handle: Handle) -> bool:
    """Say whether a value is still what was shared: its task may have changed it in place."""
    return digest_of(claimcheck.seal(value).data) == handle.digest


def shares_of(handles: Iterable[Handle]) -> tuple[Share, ...]:
    """Return what a message says of the handles that count their uses: each once, in order."""
    counted = (Share(store=each.store, key=each.key) for each in handles if each.uses is not None)
    return tuple(dict.fromkeys(counted))


_met: ContextVar[list[bool] | None] = ContextVar("met", default=None)


@contextmanager
def encoding() -> Iterator[None]:
    """Let shared values be encoded in this block, and note whether there are any, or handles."""
    token = _met.set([])
    try:
        yield
    finally:
        _met.reset(token)


def is_met() -> bool:
    """Say whether what was encoded in this block has a handle or a shared value."""
    return bool(_met.get())


def handle_written(handle: Handle) -> dict[str, Any]:
    """Return a handle as plain values, for an encoder of any serializer."""
    met = _met.get()
    if met is not None:
        met.append(True)
    return handle.as_dict()


def written(value: Shared) -> dict[str, Any]:
    """Return what stands for a shared value as plain values, for an encoder.

    Raises:
        PayloadEncodeError: it is no argument of a task in this library's serializer: nobody would count it.
    """
    if _met.get() is None:
        raise PayloadEncodeError(NO_ARGUMENT)
    return handle_written(value.handle)


def restored(content: Any) -> Shared:
    """Return what stands for a shared value in a decoded message. Does no I/O and never raises."""
    return Shared(arrived(content))

"""A payload that is a range of an object: how it is read, and which member of the object's ledger it is."""

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.memory import Bytes, read_whole
from pipeline.errors import ClaimError
from pipeline.stores.protocol import Store
from pipeline.stores.ranges import RangeStore
from pipeline.stores.records import RecordKeeper


def can_pack(store: Store) -> bool:
    """Say whether a store has what packs need: ranges, and records for their ledgers."""
    return isinstance(store, RangeStore) and isinstance(store, RecordKeeper)


def read(store: Store, claim: Claim) -> Bytes:
    """Return the stored bytes of a payload: one GET.

    Raises:
        ClaimError: it is in a pack, and the store has no ranges.
        PayloadMissingError, PayloadCorruptError, StoreDeniedError, StoreUnavailableError: from the store.
    """
    if claim.offset is None:
        return read_whole(store, claim.key, claim.size_bytes)
    if not isinstance(store, RangeStore):
        raise ClaimError(
            f"claim rejected [key={claim.key}]: its payload is in a pack, and {type(store).__name__} has no "
            "ranges; give producers and workers the same store"
        )
    return store.get_range(claim.key, claim.offset, claim.offset + claim.size_bytes)


def member(claim: Claim, task_id: str, queue: str = "") -> bytes:
    """Return which member of its object's ledger a claim is: a range of a pack, or a task.

    Two messages of one task may be in one pack, so the range decides there.

    Args:
        claim: of a payload that has a ledger.
        task_id: of its task.
        queue: name of the queue, if its message went to several.
    """
    return ledger.member(task_id if claim.offset is None else str(claim.offset), queue)

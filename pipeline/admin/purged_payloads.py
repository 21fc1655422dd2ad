"""Which payloads, and objects of doors, a purge releases with its messages, and which it keeps."""

from collections import defaultdict
from collections.abc import Mapping

from pipeline.admin.dead_letter import DeadLetter
from pipeline.admin.outcome import Outcome
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.handles.handle import Handle
from pipeline.errors import ClaimError, StoreError
from pipeline.stores.protocol import Store


class PurgedPayloads:
    """The payloads that the messages of one dead-letter queue name.

    Args:
        claimcheck: the claim check of the app.
    """

    def __init__(self, claimcheck: ClaimCheck) -> None:
        self._claimcheck = claimcheck
        self._keys: dict[str, str] = {}
        """Key that each message names, by message id."""
        self._sizes: dict[str, int] = {}
        """Size of each payload that this process may release, by key."""
        self._shared: set[str] = set()
        """Keys that messages of other queues may name, too, such as those of packs."""
        self._unread: set[str] = set()
        """Messages whose claim this process cannot read: their payloads are kept."""
        self._members: dict[str, list[tuple[str, bytes]]] = {}
        """Of which shared payloads each message is which member, by message id."""
        self._objects: dict[str, Handle] = {}
        """The object of others that the door of each message deletes, by message id."""

    def note(self, message: DeadLetter) -> None:
        """Note the key that a message names, whether or not the message will be deleted."""
        message_id = message.received.message_id
        if message.removes is not None:
            self._objects[message_id] = message.removes
        if message.claim is None and (message.key or message.may_name_any):
            self._unread.add(message_id)
        self._members[message_id] = [
            (share.key, member)
            for share, member in message.members()
            if ledger.is_ours(self._claimcheck, share)
        ]
        if message.key is None:
            return
        self._keys[message_id] = message.key
        if message.is_shared or (message.claim is not None and message.claim.offset is not None):
            self._shared.add(message.key)
        if message.claim is not None and self._is_ours(message.claim):
            self._sizes[message.key] = message.claim.size_bytes

    def release(self, deleted: set[str], outcome: Outcome) -> None:
        """Release the payloads that only deleted messages name, and count them."""
        named = self._shared | {key for each, key in self._keys.items() if each not in deleted}
        ours = {key for each, key in self._keys.items() if each in deleted and key in self._sizes}
        ours -= self._mark(deleted, outcome)
        if still_named := len(ours & named):
            outcome.keep("payload named by another message", still_named)
        if unread := len(self._unread & deleted):
            outcome.keep("payload kept: its claim cannot be read", unread)
        sizes = {key: self._sizes[key] for key in ours - named}
        _delete(self._claimcheck.store, sizes, "payload not deleted, pipeline sweep finds it", outcome)
        self._delete_objects(deleted, outcome)

    def _mark(self, deleted: set[str], outcome: Outcome) -> set[str]:
        """Count the ends of members in their ledgers, and return the keys of these shared payloads."""
        kept = {
            each for message_id, found in self._members.items() if message_id not in deleted for each in found
        }
        ends = defaultdict[str, set[bytes]](set)
        for key, member in {
            each for message_id in deleted for each in self._members.get(message_id, ())
        } - kept:
            ends[key].add(member)
        marked = ledger.mark(self._claimcheck, ends)
        for why in marked.left.values():
            outcome.keep(f"shared payload kept, pipeline sweep finds it: {why}")
        if waiting := len(ends) - len(marked.left) - len(marked.released):
            outcome.keep("shared payload: other tasks that use it have not ended", waiting)
        outcome.released += len(marked.released)
        outcome.released_bytes += sum(self._sizes.get(key, 0) for key in marked.released)
        return set(ends)

    def _delete_objects(self, deleted: set[str], outcome: Outcome) -> None:
        """Delete the objects that only deleted messages name, store by store."""
        kept = {(it.store, it.key) for each, it in self._objects.items() if each not in deleted}
        sizes = defaultdict[str, dict[str, int]](dict)
        for message_id in deleted & self._objects.keys():
            found = self._objects[message_id]
            if (found.store, found.key) not in kept:
                sizes[found.store][found.key] = found.size_bytes or 0
        for alias, of_store in sizes.items():
            _delete(self._claimcheck.stores[alias], of_store, f"object of store {alias} not deleted", outcome)

    def _is_ours(self, claim: Claim) -> bool:
        try:
            self._claimcheck.check(claim)
        except ClaimError:
            return False
        return True


def _delete(store: Store, sizes: Mapping[str, int], why_kept: str, outcome: Outcome) -> None:
    """Delete what has these keys, and count it; ``ClaimCheck.release`` does not say what the store denied."""
    try:
        left = store.delete([*sizes]) if sizes else {}
    except StoreError as exc:
        left = dict.fromkeys(sizes, exc)
    for why in left.values():
        outcome.keep(f"{why_kept}: {why}")
    outcome.released += len(sizes) - len(left)
    outcome.released_bytes += sum(size for key, size in sizes.items() if key not in left)

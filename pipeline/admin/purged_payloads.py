"""Which payloads a purge releases with its messages, and which it keeps."""

from collections import defaultdict

from pipeline.admin.dead_letter import DeadLetter
from pipeline.admin.outcome import Outcome
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import ClaimError, StoreError


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
        """Keys that messages of other queues name, too."""
        self._unread: set[str] = set()
        """Messages whose claim this process cannot read: their payloads are kept."""
        self._members: dict[str, list[tuple[str, bytes]]] = {}
        """Of which shared payloads each message is which member, by message id."""

    def note(self, message: DeadLetter) -> None:
        """Note the key that a message names, whether or not the message will be deleted."""
        message_id = message.received.message_id
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
        if message.is_shared:
            self._shared.add(message.key)
        if message.claim is not None and self._is_ours(message.claim):
            self._sizes[message.key] = message.claim.size_bytes

    def release(self, deleted: set[str], outcome: Outcome) -> None:
        """Release the payloads that only deleted messages name, and count them.

        ``ClaimCheck.release`` does not return which deletes the store denied, so this calls the store.
        """
        named = self._shared | {key for each, key in self._keys.items() if each not in deleted}
        ours = {key for each, key in self._keys.items() if each in deleted and key in self._sizes}
        ours -= self._mark(deleted, outcome)
        if still_named := len(ours & named):
            outcome.keep("payload named by another message", still_named)
        if unread := len(self._unread & deleted):
            outcome.keep("payload kept: its claim cannot be read", unread)
        keys = [*(ours - named)]
        left = self._delete(keys)
        for why in left.values():
            outcome.keep(f"payload not deleted, pipeline sweep finds it: {why}")
        outcome.released += len(keys) - len(left)
        outcome.released_bytes += sum(self._sizes[key] for key in keys if key not in left)

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

    def _delete(self, keys: list[str]) -> dict[str, StoreError]:
        """Delete payloads, and return for each that was not deleted why."""
        try:
            return dict(self._claimcheck.store.delete(keys)) if keys else {}
        except StoreError as exc:
            return dict.fromkeys(keys, exc)

    def _is_ours(self, claim: Claim) -> bool:
        try:
            self._claimcheck.check(claim)
        except ClaimError:
            return False
        return True

"""What messages that are purged name: which payloads go with them, and which stay."""

from pipeline.admin.dead_letter import Letter
from pipeline.admin.outcome import Outcome
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import ClaimError, StoreError


class Payloads:
    """The payloads that the messages of one dead-letter queue name.

    Args:
        claimcheck: of the app whose messages they are.
    """

    def __init__(self, claimcheck: ClaimCheck) -> None:
        self._claimcheck = claimcheck
        self._keys: dict[str, str] = {}
        """The key that each message names."""
        self._sizes: dict[str, int] = {}
        """Size of those payloads that are ours to release."""
        self._shared: set[str] = set()
        """Keys that messages of other queues name as well."""
        self._unread: set[str] = set()
        """Messages with a claim that cannot be read here: it is not known what else it says."""

    def note(self, letter: Letter) -> None:
        """Note what a message names, whether or not it will be deleted."""
        message_id = letter.received.message_id
        if letter.claim is None and (letter.key or letter.may_name_any):
            self._unread.add(message_id)
        if letter.key is None:
            return
        self._keys[message_id] = letter.key
        if letter.is_shared:
            self._shared.add(letter.key)
        if letter.claim is not None and self._is_ours(letter.claim):
            self._sizes[letter.key] = letter.claim.size_bytes

    def release(self, deleted: set[str], outcome: Outcome) -> None:
        """Release what only deleted messages name, and count it.

        ``ClaimCheck.release`` would not do: it does not return what was denied.
        """
        named = self._shared | {key for each, key in self._keys.items() if each not in deleted}
        ours = {key for each, key in self._keys.items() if each in deleted and key in self._sizes}
        if spared := len(ours & named):
            outcome.keep("payload named by another message", spared)
        if unread := len(self._unread & deleted):
            outcome.keep("payload kept: its claim cannot be read", unread)
        keys = [*(ours - named)]
        left = self._delete(keys)
        for why in left.values():
            outcome.keep(f"payload left to the sweep: {why}")
        outcome.released = len(keys) - len(left)
        outcome.released_bytes = sum(self._sizes[key] for key in keys if key not in left)

    def _delete(self, keys: list[str]) -> dict[str, StoreError]:
        """Delete payloads, and return why others stay."""
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

"""What messages that are purged name: which payloads go with them, and which stay."""

from pipeline import serializer
from pipeline.claim import Claim
from pipeline.errors import ClaimError, StoreError
from pipeline.operations.letters import Letter
from pipeline.operations.outcome import Outcome


class Payloads:
    """The payloads that the messages of one dead-letter queue name."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        """The key that each message names."""
        self._sizes: dict[str, int] = {}
        """Size of those payloads that are ours to release."""
        self._shared: set[str] = set()
        """Keys that messages of other queues name as well."""

    def note(self, letter: Letter) -> None:
        """Note what a message names, whether or not it will be deleted."""
        if (claim := letter.claim) is None:
            return
        self._keys[letter.received.message_id] = claim.key
        if letter.is_shared:
            self._shared.add(claim.key)
        if _is_ours(claim):
            self._sizes[claim.key] = claim.size_bytes

    def release(self, deleted: set[str], outcome: Outcome) -> None:
        """Release what only deleted messages name, and count it.

        Not by ``ClaimCheck.release``, which does not tell what was refused.
        """
        named = self._shared | {key for each, key in self._keys.items() if each not in deleted}
        ours = {key for each, key in self._keys.items() if each in deleted and key in self._sizes}
        if spared := len(ours & named):
            outcome.keep("payload named by another message", spared)
        keys = [*(ours - named)]
        left = _delete(keys)
        for why in left.values():
            outcome.keep(f"payload left to the sweep: {why}")
        outcome.released = len(keys) - len(left)
        outcome.released_bytes = sum(self._sizes[key] for key in keys if key not in left)


def _delete(keys: list[str]) -> dict[str, StoreError]:
    """Delete payloads, and return why others stay."""
    try:
        return dict(serializer.installed().store.delete(keys)) if keys else {}
    except StoreError as exc:
        return dict.fromkeys(keys, exc)


def _is_ours(claim: Claim) -> bool:
    try:
        serializer.installed().check(claim)
    except ClaimError:
        return False
    return True

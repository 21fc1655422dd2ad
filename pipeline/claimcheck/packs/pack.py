"""A pack: one object with the payloads of several messages, each of which is a range of its bytes.

The pack has a ledger with one member for each payload, or one for each queue that a payload's message goes
to. The end of the last member deletes the pack.
"""

from typing import Any

from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.packs.upload import Part, Upload

PAYLOADS_COUNT = 100
"""Most payloads of a pack: its two PUTs cost little for each of so many (docs/explanation/costs.md)."""


class Pack(Upload):
    """An object that payloads may join until it begins. Their claims have its size as the offset."""

    _queues_counts: dict[int, int]
    """How many queues get the message of a payload, by offset."""

    def __init__(self, *upload: Any, limit_bytes: int) -> None:
        super().__init__(*upload)
        self._limit_bytes = limit_bytes
        self._queues_counts = {}

    @property
    def takes_more(self) -> bool:
        """Whether further payloads may join."""
        return not self.has_begun and len(self.parts) < PAYLOADS_COUNT

    @property
    def members_count(self) -> int:
        """How many members its ledger has."""
        return sum(self._queues_counts.values())

    def takes(self, size_bytes: int) -> bool:
        """Say whether a payload may join."""
        return self.takes_more and self.size_bytes + size_bytes <= self._limit_bytes

    def add(self, part: Part) -> None:
        """Add a payload, and count it once."""
        self._queues_counts[self.size_bytes] = 1
        super().add(part)

    def share(self, claim: Claim, queues_count: int) -> bool:
        """Count a payload once for each queue that its message goes to."""
        if self.has_begun or claim.offset not in self._queues_counts:
            return False
        self._queues_counts[claim.offset] = queues_count
        return True

    def is_for_one(self, claim: Claim) -> bool:
        """Say whether one message alone names a payload."""
        return claim.offset is not None and self._queues_counts.get(claim.offset) == 1

    def remove(self, claim: Claim) -> bool:
        """Let a payload be no member. Its bytes stay, for the offsets behind it are in claims."""
        if self.has_begun or claim.offset is None:
            return False
        return self._queues_counts.pop(claim.offset, None) is not None

"""Result of a redrive or a purge: counts, and why messages were kept."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What a redrive or a purge did to one dead-letter queue."""

    queue: str
    matched: int = 0
    """Messages that the command was to move or delete."""
    moved: int = 0
    deleted: int = 0
    released: int = 0
    """Payloads that were deleted."""
    released_bytes: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    """Messages and payloads that were kept, counted by reason."""

    def keep(self, reason: str, count: int = 1) -> None:
        """Count a message or payload that is kept."""
        self.kept[reason] = self.kept.get(reason, 0) + count

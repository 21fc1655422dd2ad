"""What was done to a dead-letter queue, and what had to stay."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What a redrive or a purge has done to one dead-letter queue."""

    queue: str
    matched: int = 0
    """Messages that were asked for."""
    moved: int = 0
    deleted: int = 0
    released: int = 0
    """Payloads given up."""
    released_bytes: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    """Messages or payloads that stay, counted by reason."""

    def keep(self, reason: str, count: int = 1) -> None:
        """Count something that stays."""
        self.kept[reason] = self.kept.get(reason, 0) + count

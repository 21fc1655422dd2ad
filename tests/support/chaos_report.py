"""What a run of chaos expects of each task, and what it reports."""

from collections import Counter
from dataclasses import dataclass, field

from celery.result import AsyncResult


@dataclass
class Expected:
    """One task, and how it must end."""

    number: int
    end: str
    digest: str

    def is_met(self, result: AsyncResult) -> bool:
        """Say whether the task has ended so."""
        if self.end == "fail":
            return result.state == "FAILURE" and isinstance(result.result, ValueError)
        return result.state == "SUCCESS" and result.result == [self.number, self.digest]


@dataclass
class Report:
    """What happened, and what must not have."""

    wanted: int = 0
    tasks: int = 0
    together: int = 0
    """Tasks that were published in a batch."""
    ended: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    failed_publishes: int = 0
    """Publishes that raised: the caller got the error, and has published again."""
    runs: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    missing: int = 0
    """Payloads that were gone while the task had not ended."""
    before_sweep: int = -1
    after_sweep: int = -1
    messages: int = -1
    dead_letters: int = -1
    seconds: float = 0.0

    @property
    def is_ok(self) -> bool:
        """Whether nothing is lost, leaked or wrong."""
        nothing = (self.wrong, self.lost, self.missing, self.after_sweep, self.messages, self.dead_letters)
        return self.ended == self.tasks == self.wanted and not any(nothing)

    def table(self) -> str:
        """Return the report, one line each."""
        rows = {
            "tasks published": self.tasks,
            "  of them in batches, with payloads in packs": self.together,
            "publishes failed": self.failed_publishes,
            "ended as expected": self.ended,
            "ended otherwise": len(self.wrong),
            "lost": len(self.lost),
            "payload missing while its task was alive": self.missing,
            "runs begun": self.runs,
            **{f"  of them {name}": number for name, number in sorted(self.duplicates.items())},
            **{f"killed: {name}": number for name, number in sorted(self.kills.items())},
            "calls of S3 and SQS": self.calls,
            **{f"  of them {name}": number for name, number in sorted(self.faults.items())},
            "messages left": self.messages,
            "dead letters": self.dead_letters,
            "objects left before sweep": self.before_sweep,
            "objects left after sweep": self.after_sweep,
            "seconds": round(self.seconds),
        }
        return "\n".join(f"{name:<44}{number:>10,}" for name, number in rows.items())

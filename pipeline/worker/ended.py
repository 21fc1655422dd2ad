"""What an execution that has ended owes to the store, once its message has settled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.claimcheck.claim_check import Released
from pipeline.telemetry import log_fields
from pipeline.worker.republish import label

IsNeeded = Callable[[], bool]
"""Whether another attempt of a task needs its payload after all; asked right before the release."""


def not_needed() -> bool:
    """Answer for a task of which no other attempt can be on its way."""
    return False


class Settling(Protocol):
    """The part of a Kombu message that the releaser reads."""

    @property
    def acknowledged(self) -> bool:
        """Whether the broker has confirmed the acknowledgement."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that has ended for good, and whose message may not have settled yet."""

    message: Settling
    since: float
    is_needed: IsNeeded

    @property
    def headers(self) -> Mapping[str, Any]:
        """Headers of the message."""
        return getattr(self.message, "headers", None) or {}

    @property
    def delivery(self) -> Mapping[str, Any]:
        """Where the message came from."""
        return getattr(self.message, "delivery_info", None) or {}

    def log_fields(self) -> dict[str, Any]:
        """Return the fields of a log line about it."""
        return log_fields.of_message(self.headers, label(self.message))


@dataclass(frozen=True, slots=True)
class EndedOwner(Ended):
    """The only one that names its payload, which is to be released."""

    claim: Released

    def log_fields(self) -> dict[str, Any]:
        """Return the fields of a log line about it, and its payload."""
        return Ended.log_fields(self) | log_fields.of_payload(self.claim)


@dataclass(frozen=True, slots=True)
class EndedMember(Ended):
    """A member of a shared payload, which is to be marked in its ledger."""

    key: str
    """Of the payload."""
    id: bytes
    """See ``claimcheck/ledger.py``."""
    in_pack: bool = False
    """Whether the payload is a range of a pack: then its mark waits for those of others."""

    def log_fields(self) -> dict[str, Any]:
        """Return the fields of a log line about it, and its payload."""
        return Ended.log_fields(self) | log_fields.of_payload(None) | {"claim_key": self.key}

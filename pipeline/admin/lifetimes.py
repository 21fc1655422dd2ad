"""How long payloads and results are needed, and the lifecycle rules that expire them.

The rules equal those of ``deploy/bucket.yaml``; a test compares them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from pipeline import time_chain
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.keys import PAYLOADS, RESULTS
from pipeline.options import DAY_SECONDS
from pipeline.serializer import serializer

Rule = dict[str, Any]
"""A lifecycle rule in the form of the S3 API."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long one kind of object is needed."""

    name: str
    """Name of the kind, and ID of its rule."""
    check: str
    """Name of its check in ``doctor``."""
    folder: str
    """Folder of these objects below the store's prefix."""
    covered: str
    """Prefix of the rule below the store's prefix; empty for all objects."""
    days: int
    """Days after which the rule expires them."""
    longest_days: float
    """Days after which they must be expired."""
    is_used: bool = True
    """Whether the app stores such objects."""

    def rule(self, prefix: str) -> Rule:
        """Return the lifecycle rule for a store with this prefix, which ends with a slash or is empty."""
        return {
            "ID": self.name,
            "Status": "Enabled",
            "Filter": {"Prefix": prefix + self.covered},
            "Expiration": {"Days": self.days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }

    def is_kept(self, whole: list[int], parts: list[int]) -> bool:
        """Return whether rules with these days, for all objects and for parts of them, are right."""
        return bool(whole) and self.days <= min(whole + parts) <= self.longest_days


def lifetimes(app: Any, claimcheck: ClaimCheck) -> Iterator[Lifetime]:
    """Yield the lifetime of payloads and records, and that of results."""
    ttl_seconds = claimcheck.options.payload_ttl_seconds
    yield Lifetime("payloads", "lifecycle rule", PAYLOADS, "", ceil(ttl_seconds / DAY_SECONDS), inf)
    days = ceil(time_chain.result_seconds(app.conf, ttl_seconds) / DAY_SECONDS)
    is_used = app.conf.result_serializer == serializer.NAME
    yield Lifetime("results", "lifecycle of results", RESULTS, RESULTS, days, days + 1, is_used)

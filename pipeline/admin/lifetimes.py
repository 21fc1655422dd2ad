"""How long payloads and results are needed, and the lifecycle rules of a bucket that end them.

The rules are those of ``deploy/bucket.yaml``, in the words of S3's API; a test compares them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from pipeline import time_chain
from pipeline.claimcheck.claim import PAYLOADS, RESULTS
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.options import DAY_SECONDS
from pipeline.serializer import serializer

Rule = dict[str, Any]
"""A lifecycle rule as S3's API has it."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long one kind of object is needed."""

    name: str
    """Of the kind, and of its rule."""
    check: str
    """What ``doctor`` calls it."""
    folder: str
    """Where such objects lie below the store's prefix."""
    covered: str
    """For what the rule is: all below the store's prefix, or a folder."""
    days: int
    longest_days: float
    """When they must be gone."""
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
        """Say whether rules that end such objects, or some of them, after these days are right."""
        return bool(whole) and self.days <= min(whole + parts) <= self.longest_days


def lifetimes(app: Any, claimcheck: ClaimCheck) -> Iterator[Lifetime]:
    """Yield the lifetimes of what an app has in its store: one for payloads and records, one for results."""
    ttl_seconds = claimcheck.options.payload_ttl_seconds
    yield Lifetime("payloads", "lifecycle rule", PAYLOADS, "", ceil(ttl_seconds / DAY_SECONDS), inf)
    days = ceil(time_chain.result_seconds(app.conf, ttl_seconds) / DAY_SECONDS)
    is_used = app.conf.result_serializer == serializer.NAME
    yield Lifetime("results", "lifecycle of results", RESULTS, RESULTS, days, days + 1, is_used)

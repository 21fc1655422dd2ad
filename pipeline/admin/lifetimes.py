"""How long payloads, results and records are needed, and the lifecycle rules that expire them.

The rules equal those of ``deploy/core.yaml``; a test compares them.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

from pipeline import time_chain
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.keys import PAYLOADS, RESULTS, TTL_CLASSES_DAYS, handle_folder
from pipeline.errors import StoreError
from pipeline.options import DAY_SECONDS
from pipeline.serializer import serializer
from pipeline.stores.protocol import Store

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
            "Filter": {"Prefix": prefix + self.folder},
            "Expiration": {"Days": self.days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }

    def is_kept(self, whole: list[int], parts: list[int]) -> bool:
        """Return whether rules with these days, for all objects and for parts of them, are right."""
        return bool(whole) and self.days <= min(whole + parts) <= self.longest_days


def lifetimes(app: Any, claimcheck: ClaimCheck) -> Iterator[Lifetime]:
    """Yield the lifetimes of payloads, records, results, and of each TTL class of handles.

    Each has a folder and a rule of its own: of two rules for an object, S3 applies the sooner.
    """
    ttl_seconds = claimcheck.options.payload_ttl_seconds
    days = ceil(ttl_seconds / DAY_SECONDS)
    yield Lifetime("payloads", "lifecycle rule", PAYLOADS, days, inf)
    for name in ("once", "revoked"):
        folder = f"{name}/"
        yield Lifetime(name, f"lifecycle of {name}", folder, days, inf, _is_there(claimcheck.store, folder))
    days = ceil(time_chain.result_seconds(app.conf, ttl_seconds) / DAY_SECONDS)
    is_used = app.conf.result_serializer == serializer.NAME
    yield Lifetime("results", "lifecycle of results", RESULTS, days, days + 1, is_used)
    for days in TTL_CLASSES_DAYS:
        name, folder = f"handles-{days}d", handle_folder(days)
        is_used = _is_there(claimcheck.store, folder)
        yield Lifetime(name, f"lifecycle of {name}", folder, days, days + 1, is_used)


def _is_there(store: Store, folder: str) -> bool:
    """Say whether the store lists an object in a folder; False if it does not answer."""
    with suppress(StoreError):
        return any(True for _ in store.list(folder))
    return False

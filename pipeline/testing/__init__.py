"""For tests of applications: stores that fail or count, and an app in memory.

``doubles`` wrap a store, ``memory_app`` is what the pytest fixture ``claimcheck_app`` gives to a test.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.testing.doubles import CountingStore, FaultyStore

if TYPE_CHECKING:
    from pipeline.testing.memory_app import ClaimCheckApp, SentTask

__all__ = ["ClaimCheckApp", "CountingStore", "FaultyStore", "SentTask"]

_LATER = {"ClaimCheckApp", "SentTask"}
"""Imported on first use: they need Celery and all of this library, and the doubles do not."""


def __getattr__(name: str) -> Any:
    """Import a name on first use."""
    if name in _LATER:
        return getattr(import_module("pipeline.testing.memory_app"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

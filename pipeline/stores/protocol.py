"""Where payloads lie: four verbs, and nothing about how.

A store keeps immutable objects under keys that we make. It knows nothing of claims, codecs or tasks.
Every implementation passes ``tests/integration/test_store.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from math import inf
from time import monotonic
from typing import Protocol, runtime_checkable

from pipeline.errors import StoreError


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it."""

    key: str
    """Full key, prefix included."""
    size_bytes: int
    """Size as stored."""
    modified: datetime
    """When the store last wrote it; aware, UTC."""


@runtime_checkable
class Store(Protocol):
    """A place for payloads. Safe to use from several threads and after a fork.

    All verbs raise ``StoreUnavailableError`` when trying again later may help and
    ``StoreDeniedError`` when it will not.
    """

    @property
    def prefix(self) -> str:
        """Where our keys begin, without a trailing slash; may be empty."""

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Store ``payload`` under ``key``, which must be new; never overwrites.

        Safe to call twice with the same key and payload. ``metadata`` is for people: short ASCII values.
        """

    def get(self, key: str, size_bytes: int) -> bytes:
        """Return the object's bytes, which the caller knows to be ``size_bytes`` long.

        Never returns more or fewer bytes than that.

        Raises:
            PayloadMissingError: there is no such object.
            PayloadCorruptError: the object has another size.
        """

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete objects, and return the keys that are left, each with why. A missing key counts as deleted.

        Raises:
            StoreError: the store denies access, or does not answer; some may be gone.
        """

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose key starts with the store's prefix followed by ``prefix``, in key order."""


_deadline: ContextVar[float] = ContextVar("deadline", default=inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Bound the calls of a store in a ``with`` block, in this thread or greenlet: see :func:`deadline`."""
    token = _deadline.set(monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def deadline() -> float:
    """Return when a call under way must have ended, by :func:`time.monotonic`; ``inf`` if nobody waits.

    A store whose answers can take long asks for it, and raises
    :class:`~pipeline.errors.StoreUnavailableError` then. It may allow for the size of a payload.
    """
    return _deadline.get()

"""The ``Store`` protocol: put, get, delete and list immutable objects.

A store does not depend on claims, codecs or tasks. Every implementation passes
``tests/support/store_rules.py``.
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
    """A store of payloads. Safe to use from several threads and after a fork.

    All methods raise ``StoreUnavailableError`` for transient errors and ``StoreDeniedError`` for permanent
    ones.
    """

    @property
    def prefix(self) -> str:
        """First part of all keys, without a trailing slash; may be empty."""

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Store ``payload`` under ``key``, which must be new; never overwrites.

        Safe to call twice with the same key and payload. ``metadata`` is for operators: short ASCII values.
        """

    def get(self, key: str, size_bytes: int) -> bytes:
        """Return the object's bytes, exactly ``size_bytes`` of them.

        Raises:
            PayloadMissingError: there is no such object.
            PayloadCorruptError: the object has another size.
        """

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete objects; return the error of each key that was not deleted. A missing key counts as deleted.

        Raises:
            StoreError: the store denied the request or did not answer; some may be deleted.
        """

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose key starts with the store's prefix followed by ``prefix``, in key order."""


@runtime_checkable
class FillingStore(Protocol):
    """A store that reads into memory of the caller's: optional, for large payloads."""

    def get_into(self, key: str, view: memoryview) -> None:
        """Fill ``view`` with an object's bytes, of which there must be just as many.

        Raises:
            PayloadMissingError: there is no such object.
            PayloadCorruptError: the object has another size.
        """


@runtime_checkable
class PreparedStore(Protocol):
    """A store whose first transfer in a process takes longer: optional."""

    def prepare(self) -> None:
        """Make what transfers of this process need. Sends nothing to the store, and never raises."""


_deadline: ContextVar[float] = ContextVar("deadline", default=inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Set the deadline of store calls in a ``with`` block, in this thread or greenlet."""
    token = _deadline.set(monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def deadline() -> float:
    """Return the deadline of the current call by :func:`time.monotonic`; ``inf`` if there is none.

    A store whose calls can take long reads it, and raises
    :class:`~pipeline.errors.StoreUnavailableError` when it has passed. It may add time for a large payload.
    """
    return _deadline.get()

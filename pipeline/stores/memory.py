"""Payloads in this process's memory: for tests, and for trying things out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.errors import PayloadCorruptError, PayloadMissingError, StoreDeniedError
from pipeline.store import StoredObject


@dataclass(frozen=True, slots=True)
class _Entry:
    payload: bytes
    modified: datetime


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """A store that ends with its process. A forked child goes on with a copy of its own.

    There is no lock that a fork could leave held: each step is one operation of a dict, which Python
    makes atomic. Metadata is dropped, as no verb gives it back.

    Args:
        prefix: where our keys begin; slashes at its ends are dropped.
    """

    prefix: str = ""
    _entries: dict[str, _Entry] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", self.prefix.strip("/"))

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:  # noqa: ARG002
        """Store a payload under a new key. Safe to call twice with the same payload.

        Raises:
            StoreDeniedError: the key holds another payload.
        """
        entry = _Entry(bytes(payload), datetime.now(UTC))
        if self._entries.setdefault(key, entry).payload != entry.payload:
            raise StoreDeniedError(
                f"store refuses to overwrite [key={key}]: the key holds another payload; "
                "make a new key for each"
            )

    def get(self, key: str, size_bytes: int) -> bytes:
        """Return the payload under a key.

        Raises:
            PayloadMissingError: there is none.
            PayloadCorruptError: it has another size.
        """
        entry = self._entries.get(key)
        if entry is None:
            raise PayloadMissingError(f"payload missing [key={key}]: released, or put by another process")
        if len(entry.payload) != size_bytes:
            raise PayloadCorruptError(
                f"payload corrupt [key={key}]: it has {len(entry.payload)} bytes, and the claim "
                f"says {size_bytes}; somebody else wrote it, or the claim was forged"
            )
        return entry.payload

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete payloads; never fails, so returns no keys. Safe to call twice."""
        for key in keys:
            self._entries.pop(key, None)
        return []

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield what lies below our prefix now and goes on with ``prefix``, in key order."""
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        for key, entry in sorted(self._entries.copy().items()):
            if key.startswith(full):
                yield StoredObject(key, len(entry.payload), entry.modified)

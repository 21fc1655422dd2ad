"""Payloads in the memory of this process, for tests and experiments."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.errors import PayloadCorruptError, PayloadMissingError, StoreDeniedError, StoreError
from pipeline.stores.protocol import StoredObject


@dataclass(frozen=True, slots=True)
class _Entry:
    payload: bytes = field(repr=False)
    modified: datetime
    tag: str = ""
    """Identifies this content of a record; empty for a payload."""


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """A store that ends with its process. A forked child has its own copy.

    Uses no lock, because a fork could leave one locked: each step is one dict operation, which Python makes
    atomic. Metadata is not stored, because no method returns it.

    Args:
        prefix: first part of all keys; slashes at its ends are dropped.
    """

    prefix: str = ""
    _entries: dict[str, _Entry] = field(default_factory=dict, init=False, repr=False, compare=False)
    _tags: dict[str, None] = field(default_factory=dict, init=False, repr=False, compare=False)

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
                f"store does not overwrite [key={key}]: another payload has this key; "
                "use a new key for each payload"
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
                f"payload corrupt [key={key}]: size {len(entry.payload)} bytes, claimed "
                f"{size_bytes}; another writer changed it, or the claim was forged"
            )
        return entry.payload

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete payloads. Never fails; safe to call twice."""
        for key in keys:
            found = self._entries.pop(key, None)
            if found is not None:
                self._tags.pop(found.tag, None)
        return {}

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield objects whose key, after the store's own prefix, begins with ``prefix``, in key order."""
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        for key, entry in sorted(self._entries.copy().items()):
            if key.startswith(full):
                yield StoredObject(key, len(entry.payload), entry.modified)

    def records(self) -> "MemoryRecords":
        """Return the records of ``@idempotent``."""
        return MemoryRecords(self._entries, self._tags)


@dataclass(frozen=True, slots=True)
class MemoryRecords:
    """The records of a memory store, without a lock, as in the store.

    The writer that removes a tag from ``tags`` may replace its content: of several writers one succeeds.

    Args:
        entries: the store's.
        tags: the tags of the current contents.
    """

    entries: dict[str, _Entry]
    tags: dict[str, None]

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a record's content and tag, or None if there is none."""
        found = self.entries.get(key)
        return (found.payload, found.tag) if found else None

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Write a record conditionally, and return its new tag; None if the condition failed."""
        made = _Entry(content, datetime.now(UTC), secrets.token_hex(8))
        self.tags[made.tag] = None  # before the record is visible
        if tag is None:
            is_ours = self.entries.setdefault(key, made) is made
        elif is_ours := self._take(tag):
            self.entries[key] = made
        if not is_ours:
            self._take(made.tag)
        return made.tag if is_ours else None

    def remove(self, key: str, tag: str) -> bool:
        """Delete a record conditionally, and return whether the condition was met."""
        is_ours = self._take(tag)
        if is_ours:
            self.entries.pop(key, None)
        return is_ours

    def _take(self, tag: str) -> bool:
        with suppress(KeyError):
            self.tags.pop(tag)
            return True
        return False

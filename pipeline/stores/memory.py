"""Payloads in the memory of this process, for tests and experiments."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.errors import PayloadCorruptError, PayloadMissingError, StoreDeniedError, StoreError
from pipeline.stores.protocol import StoredObject
from pipeline.stores.ranges import Head


@dataclass(frozen=True, slots=True)
class _Entry:
    payload: bytes = field(repr=False)
    modified: datetime
    tag: str = field(default_factory=lambda: secrets.token_hex(8))
    """Identifies this content."""


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
        entry = self._found(key, None)
        if len(entry.payload) != size_bytes:
            raise PayloadCorruptError(
                f"payload corrupt [key={key}]: size {len(entry.payload)} bytes, claimed "
                f"{size_bytes}; another writer changed it, or the claim was forged"
            )
        return entry.payload

    def get_range(
        self, key: str, start: int, stop: int, *, etag: str | None = None, version: str | None = None
    ) -> bytes:
        """Return the bytes of a payload from ``start`` up to ``stop``, not included.

        Raises:
            PayloadMissingError: there is no such payload, or no such version: there are none.
            PayloadCorruptError: it has another tag, or ends before ``stop``.
        """
        entry = self._found(key, version)
        if etag not in {None, entry.tag} or len(entry.payload) < stop:
            raise PayloadCorruptError(
                f"payload corrupt [key={key}]: size {len(entry.payload)} bytes, expected {stop} or more, and "
                "the same content as before; another writer changed it"
            )
        return entry.payload[start:stop]

    def head(self, key: str, version: str | None = None) -> Head:
        """Return what is known of a payload, without its content.

        Raises:
            PayloadMissingError: there is no such payload, or no such version: there are none.
        """
        entry = self._found(key, version)
        return Head(len(entry.payload), entry.tag, None, entry.modified)

    def upload(
        self,
        key: str,
        metadata: Mapping[str, str],  # noqa: ARG002
        media_type: str | None = None,  # noqa: ARG002
    ) -> "MemoryUpload":
        """Return an upload to a new key."""
        return MemoryUpload(self, key)

    def url(self, key: str, expires_seconds: int, **_: object) -> str:  # noqa: ARG002
        """Raise: there is no URL of this process's memory.

        Raises:
            StoreDeniedError: always.
        """
        raise StoreDeniedError(f"no URL [key={key}]: a memory:// store has none; use an s3:// store")

    def _found(self, key: str, version: str | None) -> _Entry:
        entry = self._entries.get(key)
        if entry is None or version is not None:
            raise PayloadMissingError(f"payload missing [key={key}]: released, or put by another process")
        return entry

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
class MemoryUpload:
    """An object on its way into a memory store. Safe to share between threads."""

    store: MemoryStore
    key: str
    _parts: dict[int, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    def part(self, number: int, start: int, data: bytes) -> None:  # noqa: ARG002
        """Keep a part."""
        self._parts[start] = data

    def complete(self) -> str:
        """Store the object, and return its tag.

        Raises:
            StoreDeniedError: the key holds another payload.
        """
        return self.whole(b"".join(self._parts[start] for start in sorted(self._parts)))

    def whole(self, data: bytes) -> str:
        """Store an object that has one part, and return its tag.

        Raises:
            StoreDeniedError: the key holds another payload.
        """
        self.store.put(self.key, data, {})
        return self.store.head(self.key).etag

    def abort(self) -> None:
        """Drop the parts."""
        self._parts.clear()


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
        made = _Entry(content, datetime.now(UTC))
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

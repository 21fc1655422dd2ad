"""Doubles for tests of applications, and of this library: a store that fails on order, and one that counts.

Both wrap any :class:`~pipeline.stores.Store`, so a test says what goes wrong and leaves boto3 alone::

    store = FaultyStore(MemoryStore(), fail=[StoreUnavailableError("try again"), None])
    store.put(...)      # raises
    store.put(...)      # goes through, and so does every later one
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.errors import StoreError
from pipeline.stores.protocol import Store, StoredObject
from pipeline.stores.ranges import Head, Upload, ranges_of
from pipeline.stores.records import Records, records_of

T = TypeVar("T")

VERBS = ("put", "get", "delete", "list")
"""The verbs of a store."""

RANGE_VERBS = ("head", "get_range", "upload", "part", "complete", "whole", "url")
"""The verbs of its ranges and uploads, which handles use."""

RECORD_VERBS = ("read", "write", "remove")
"""The verbs of its records, which ``@idempotent`` uses."""


@dataclass(frozen=True, slots=True)
class FaultyStore:
    """A store whose first calls fail. Safe to share between threads.

    Each verb goes through ``fail`` by itself: its first call raises the first error, its second the
    second, and None lets a call through. When the list is at its end, everything goes through.

    Args:
        store: what answers the calls that go through.
        fail: errors to raise, in order; None for a call that succeeds.
        verbs: the verbs that fail; by default all of a store, and none of its records and ranges.
        after: act first and raise then, like an answer that got lost on its way.
    """

    store: Store
    fail: Sequence[BaseException | None]
    verbs: Sequence[str] = VERBS
    after: bool = False
    _left: dict[str, Iterator[BaseException | None]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = VERBS + RECORD_VERBS + RANGE_VERBS
        unknown = set(self.verbs) - set(known)
        if unknown:
            raise ValueError(f"verbs={sorted(unknown)}: expected some of {', '.join(known)}")
        object.__setattr__(self, "_left", {verb: iter(tuple(self.fail)) for verb in self.verbs})

    @property
    def prefix(self) -> str:
        """The prefix of the store inside."""
        return self.store.prefix

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Fail as ordered, or put."""
        self._act("put", lambda: self.store.put(key, payload, metadata))

    def get(self, key: str, size_bytes: int) -> bytes:
        """Fail as ordered, or get."""
        return self._act("get", lambda: self.store.get(key, size_bytes))

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Fail as ordered, or delete."""
        return self._act("delete", lambda: self.store.delete(keys))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Fail as ordered, at the call, or list."""
        return self._act("list", lambda: self.store.list(prefix))

    def head(self, key: str, version: str | None = None) -> Head:
        """Fail as ordered, or return what is known of an object."""
        return self._act("head", lambda: ranges_of(self.store).head(key, version))

    def get_range(
        self, key: str, start: int, stop: int, *, etag: str | None = None, version: str | None = None
    ) -> bytes:
        """Fail as ordered, or return a range."""
        return self._act(
            "get_range", lambda: ranges_of(self.store).get_range(key, start, stop, etag=etag, version=version)
        )

    def upload(self, key: str, metadata: Mapping[str, str], media_type: str | None = None) -> Upload:
        """Fail as ordered, or return an upload, whose verbs do so, too."""
        inner = self._act("upload", lambda: ranges_of(self.store).upload(key, metadata, media_type))
        return _DoubledUpload(inner, self._act)

    def url(self, key: str, expires_seconds: int, **more: Any) -> str:
        """Fail as ordered, or return a URL."""
        return self._act("url", lambda: ranges_of(self.store).url(key, expires_seconds, **more))

    def records(self) -> Records:
        """Return the records of the store inside, whose verbs fail as ordered where ``verbs`` names them.

        Raises:
            ValueError: the store inside keeps none.
        """
        return _Doubled(records_of(self.store), self._act)

    def _act(self, verb: str, call: Callable[[], T]) -> T:
        error = next(self._left.get(verb, iter(())), None)
        if error is None:
            return call()
        if self.after:
            call()
        raise error


@dataclass(frozen=True, slots=True)
class CountingStore:
    """A store that counts calls and bytes, those of calls that fail too. Safe to share between threads.

    A forked child goes on counting by itself.
    """

    store: Store
    _calls: list[tuple[str, int]] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def prefix(self) -> str:
        """The prefix of the store inside."""
        return self.store.prefix

    @property
    def calls(self) -> Counter[str]:
        """How often each verb was called: ``{"put": 2, "get": 1}``."""
        return Counter(verb for verb, _ in tuple(self._calls))

    @property
    def payload_bytes(self) -> Counter[str]:
        """How many payload bytes ``put`` was given, and ``get`` and ``get_range`` were asked for."""
        total: Counter[str] = Counter()
        for verb, size_bytes in tuple(self._calls):
            total[verb] += size_bytes
        return +total

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Count, and put."""
        self._count("put", lambda: self.store.put(key, payload, metadata), len(payload))

    def get(self, key: str, size_bytes: int) -> bytes:
        """Count, and get."""
        return self._count("get", lambda: self.store.get(key, size_bytes), size_bytes)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Count, and delete."""
        return self._count("delete", lambda: self.store.delete(keys))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Count, and list."""
        return self._count("list", lambda: self.store.list(prefix))

    def head(self, key: str, version: str | None = None) -> Head:
        """Count, and return what is known of an object."""
        return self._count("head", lambda: ranges_of(self.store).head(key, version))

    def get_range(
        self, key: str, start: int, stop: int, *, etag: str | None = None, version: str | None = None
    ) -> bytes:
        """Count, and return a range."""
        ranges = ranges_of(self.store)
        return self._count(
            "get_range",
            lambda: ranges.get_range(key, start, stop, etag=etag, version=version),
            stop - start,
        )

    def upload(self, key: str, metadata: Mapping[str, str], media_type: str | None = None) -> Upload:
        """Count, and return an upload, whose verbs do so, too."""
        inner = self._count("upload", lambda: ranges_of(self.store).upload(key, metadata, media_type))
        return _DoubledUpload(inner, self._count)

    def url(self, key: str, expires_seconds: int, **more: Any) -> str:
        """Count, and return a URL."""
        return self._count("url", lambda: ranges_of(self.store).url(key, expires_seconds, **more))

    def records(self) -> Records:
        """Return the records of the store inside, whose ``read``, ``write`` and ``remove`` are counted too.

        Raises:
            ValueError: the store inside keeps none.
        """
        return _Doubled(records_of(self.store), self._count)

    def _count(self, verb: str, call: Callable[[], T], size_bytes: int = 0) -> T:
        self._calls.append((verb, size_bytes))
        return call()


@dataclass(frozen=True, slots=True)
class _Doubled:
    """Records whose verbs go through what a double does with each."""

    records: Records
    act: Callable[[str, Callable[[], Any]], Any]

    def read(self, key: str) -> tuple[bytes, str] | None:
        return self.act("read", lambda: self.records.read(key))  # type: ignore[no-any-return]

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        return self.act("write", lambda: self.records.write(key, content, tag))  # type: ignore[no-any-return]

    def remove(self, key: str, tag: str) -> bool:
        return self.act("remove", lambda: self.records.remove(key, tag))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _DoubledUpload:
    """An upload whose verbs go through what a double does with each."""

    upload: Upload
    act: Callable[[str, Callable[[], Any]], Any]

    def part(self, number: int, start: int, data: bytes) -> None:
        self.act("part", lambda: self.upload.part(number, start, data))

    def complete(self) -> str:
        return self.act("complete", self.upload.complete)  # type: ignore[no-any-return]

    def whole(self, data: bytes) -> str:
        return self.act("whole", lambda: self.upload.whole(data))  # type: ignore[no-any-return]

    def abort(self) -> None:
        self.upload.abort()

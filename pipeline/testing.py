"""Doubles for tests of applications, and of this library: a store that fails on order, and one that counts.

Both wrap any :class:`~pipeline.store.Store`, so a test says what goes wrong and leaves boto3 alone::

    store = FaultyStore(MemoryStore(), fail=[StoreUnavailableError("try again"), None])
    store.put(...)      # raises
    store.put(...)      # goes through, and so does every later one
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.errors import StoreError
from pipeline.store import Store, StoredObject

VERBS = ("put", "get", "delete", "list")
"""The verbs of a store."""


@dataclass(frozen=True, slots=True)
class FaultyStore:
    """A store whose first calls fail. Safe to share between threads.

    Each verb goes through ``fail`` by itself: its first call raises the first error, its second the
    second, and None lets a call through. When the list is at its end, everything goes through.

    Args:
        store: what answers the calls that go through.
        fail: errors to raise, in order; None for a call that succeeds.
        verbs: the verbs that fail; by default all of them.
        after: act first and raise then, like an answer that got lost on its way.
    """

    store: Store
    fail: Sequence[BaseException | None]
    verbs: Sequence[str] = VERBS
    after: bool = False
    _left: dict[str, Iterator[BaseException | None]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        unknown = set(self.verbs) - set(VERBS)
        if unknown:
            raise ValueError(f"verbs={sorted(unknown)}: expected some of {', '.join(VERBS)}")
        object.__setattr__(self, "_left", {verb: iter(tuple(self.fail)) for verb in self.verbs})

    @property
    def prefix(self) -> str:
        """The prefix of the store inside."""
        return self.store.prefix

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Fail as ordered, or put."""
        error = self._next("put")
        if error is None or self.after:
            self.store.put(key, payload, metadata)
        _raise(error)

    def get(self, key: str, size_bytes: int) -> bytes:
        """Fail as ordered, or get."""
        _raise(self._next("get"))
        return self.store.get(key, size_bytes)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Fail as ordered, or delete."""
        error = self._next("delete")
        left = self.store.delete(keys) if error is None or self.after else {}
        _raise(error)
        return left

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Fail as ordered, at the call, or list."""
        _raise(self._next("list"))
        return self.store.list(prefix)

    def _next(self, verb: str) -> BaseException | None:
        return next(self._left.get(verb, iter(())), None)


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
        """How many payload bytes ``put`` was given and ``get`` was asked for."""
        total: Counter[str] = Counter()
        for verb, size_bytes in tuple(self._calls):
            total[verb] += size_bytes
        return +total

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Count, and put."""
        self._calls.append(("put", len(payload)))
        self.store.put(key, payload, metadata)

    def get(self, key: str, size_bytes: int) -> bytes:
        """Count, and get."""
        self._calls.append(("get", size_bytes))
        return self.store.get(key, size_bytes)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Count, and delete."""
        self._calls.append(("delete", 0))
        return self.store.delete(keys)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Count, and list."""
        self._calls.append(("list", 0))
        return self.store.list(prefix)


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error

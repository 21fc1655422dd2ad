"""A list and a dict whose values are loaded on first use.

They are no subclasses of ``list`` and ``dict``: C code such as ``json.dumps`` reads the storage of those
directly, and would find it empty until something else has loaded the values.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from datetime import timedelta
from typing import Any, Self

from pipeline.claimcheck.codec import libraries


class LazyList(MutableSequence[Any]):
    """A list that is loaded on first use."""

    @property
    @abstractmethod
    def loaded(self) -> list[Any]:
        """The values themselves: always the same list."""

    def __getitem__(self, index: Any) -> Any:
        return self.loaded[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.loaded[index] = value

    def __delitem__(self, index: Any) -> None:
        del self.loaded[index]

    def __len__(self) -> int:
        return len(self.loaded)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loaded)

    def insert(self, index: int, value: Any) -> None:
        """Insert a value before an index."""
        self.loaded.insert(index, value)

    def copy(self) -> list[Any]:
        """Return a plain list of the values."""
        return self.loaded.copy()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str) or not isinstance(other, Sequence):
            return NotImplemented
        return self.loaded == list(other)

    __hash__ = None  # type: ignore[assignment] # as a list's

    def __add__(self, other: Sequence[Any]) -> Sequence[Any]:
        return [*self, *other]

    def __radd__(self, other: Sequence[Any]) -> Sequence[Any]:
        return type(other)([*other, *self])  # type: ignore[call-arg] # a list or a tuple


class LazyDict(MutableMapping[str, Any]):
    """A dict that is loaded on first use."""

    @property
    @abstractmethod
    def loaded(self) -> dict[str, Any]:
        """The values themselves: always the same dict."""

    def __getitem__(self, name: str) -> Any:
        return self.loaded[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.loaded[name] = value

    def __delitem__(self, name: str) -> None:
        del self.loaded[name]

    def __len__(self) -> int:
        return len(self.loaded)

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaded)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.loaded)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last pair, and return it."""
        return self.loaded.popitem()

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of the values."""
        return self.loaded.copy()

    def __or__(self, other: Any) -> dict[str, Any]:
        return {**self, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Any) -> dict[str, Any]:
        return {**other, **self} if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Self:
        self.loaded.update(other)
        return self


def as_json(value: Any) -> Any:
    """Return arguments as result backends and monitors keep them, in JSON.

    Kombu's JSON has no sets, no timedeltas and no keys but text, numbers, bools and ``None``, and cannot
    read a dict that looks like a value of a registered type. Lists and texts stand for these, and the name of
    its type for an array or a table.
    """
    if isinstance(value, dict):
        if value.keys() == {"__type__", "__value__"}:
            return str(value)
        return dict(zip(map(_json_key, value), map(as_json, value.values()), strict=True))
    if isinstance(value, list | tuple | set | frozenset):
        return list(map(as_json, value))
    return str(value) if isinstance(value, timedelta) else libraries.description(value) or value


def _json_key(key: Any) -> Any:
    return key if isinstance(key, str | int | float | None) else str(key)

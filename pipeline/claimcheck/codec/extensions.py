"""What MessagePack lacks, and how it travels: two extension types, each an array of a name and content.

Extension 1 holds a value of a registered type, ``[marker, content]``, with the marker and the content that
``kombu.utils.json.register_type`` gave it. Extension 2 holds ``[name, content]`` for types of Python's own:

| name | content |
| --- | --- |
| int | an integer beyond 64 bits, as two's complement, big-endian |
| text | text with lone surrogates, as UTF-8 that lets them pass |
| set, frozenset | a list of the elements |
| map | a dict with keys that are no text, number, bool, null or bytes: a list of keys and values in turn |
| timedelta | days, seconds and microseconds |
| fold | a datetime or time that has ``fold=1``, as extension 1 |
| nested | a list or dict 200 or 400 levels deep: writers stop at 255 levels in one piece |

In keys and elements of sets, an array stands for a tuple; everywhere else for a list.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

TYPED = 1
OURS = 2

NESTING = 500
"""How deep lists and dicts may nest; what travels as an extension counts as two levels.

Half of Python's default recursion limit, which counts what the reader has open. The other half is for the
program around it.
"""


@dataclass(frozen=True, slots=True)
class TypedValues:
    """How the application's JSON treats types that JSON lacks."""

    default: Callable[[Any], Any]
    """A value of a foreign type to one that JSON has, or to ``{"__type__": marker, "__value__": …}``.
    Raises ``TypeError`` for an unregistered type."""
    restore: Callable[[dict[str, Any]], Any]
    """The inverse of ``default`` for marked values."""


def _map(content: list[Any]) -> dict[Any, Any]:
    keys = [hashable(key) for key in content[::2]]
    restored = dict(zip(keys, content[1::2], strict=True))
    _check_count(restored, len(keys))
    return restored


def _set(content: list[Any]) -> set[Any]:
    restored = set(map(hashable, content))
    _check_count(restored, len(content))
    return restored


def _check_count(restored: Collection[Any], count: int) -> None:
    if len(restored) != count:
        raise ValueError("keys or elements are equal")


def hashable(key: Any) -> Any:
    """Return a key or an element of a set as it was: where it holds an array, that was a tuple."""
    return tuple(map(hashable, key)) if type(key) is list else key


PLAIN_NAMES: dict[str, Callable[[Any], Any]] = {
    "int": lambda content: int.from_bytes(content, signed=True),
    "text": lambda content: content.decode("utf-8", "surrogatepass"),
    "timedelta": lambda content: timedelta(*content),
    "fold": lambda content: content.replace(fold=1),
    "nested": lambda content: content,
}
"""How content becomes a value again, by name, where no hash is computed of what the sender chose."""

NAMES = PLAIN_NAMES | {"set": _set, "frozenset": lambda content: frozenset(_set(content)), "map": _map}
"""The same for all names."""

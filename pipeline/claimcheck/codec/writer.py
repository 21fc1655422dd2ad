"""Values to bytes: ormsgpack writes what it writes faithfully, and the rest is rewritten for it."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any
from uuid import UUID

import ormsgpack
from ormsgpack import Ext

from pipeline.claimcheck.codec import buffers, libraries
from pipeline.claimcheck.codec.equality import has_short_offset, is_same, is_same_key
from pipeline.claimcheck.codec.extensions import NESTING, OURS, TYPED, TypedValues
from pipeline.claimcheck.codec.reader import Reader
from pipeline.claimcheck.codec.unwritable import Unwritable, step, too_deep, unequal, unknown
from pipeline.errors import PipelineError

_OPTIONS = (  # not OPT_NON_STR_KEYS: with it, keys that are dates, UUIDs or Enums are written as text
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS  # their contents need not be where the base class keeps its own
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

_ANY_KEYS = _OPTIONS | ormsgpack.OPT_NON_STR_KEYS

_PIECE = 255
"""How many levels ormsgpack writes at once; pinned in ``test_codec_nesting.py``."""
_SPLIT = 200
"""At each multiple of so many levels, a list or dict becomes a piece of its own."""

_CONTAINERS = frozenset({list, tuple, dict})
_ATOMS = frozenset({NoneType, bool, float, bytes})
_KEYS = _ATOMS | {str, int}

_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: memoryview(value).tobytes(),
    list: list,
    tuple: list,
    dict: lambda mapping: dict(mapping.items()),
}
"""What JSON makes of subclasses. Celery's ``regen`` is a list that is empty inside until it is iterated."""
_PLAIN_KINDS = tuple(_PLAIN)

_KOMBU = (date, time, Decimal, UUID)
"""What Kombu registers by itself, for subclasses too. These may hold more: ``pandas.Timestamp`` does."""
_EXACT = frozenset({datetime, *_KOMBU})


class Writer:
    """Writes values as MessagePack. Stateless, and safe to share between threads.

    Args:
        types: the application's type registry.
        reader: reads back what must be known to arrive equal: keys, and subclasses of Kombu's types.
    """

    def __init__(self, types: TypedValues, reader: Reader) -> None:
        self._types = types
        self._reader = reader

    def write(self, value: Any) -> bytes:
        """Return ``value`` as bytes.

        ormsgpack writes all of it if its keys are text, its text is valid Unicode and it nests less deep
        than ``_PIECE``; what ormsgpack does not know it hands to ``_foreign``. Otherwise
        ``_rewritten`` makes of the value one that ormsgpack can write, or only of its foreign parts if
        MessagePack has all its keys.

        Raises:
            PayloadEncodeError: some part of ``value`` cannot be written; names its path and type.
        """
        with buffers.collected() as beside:
            head = self._head(value, beside)
            return buffers.joined(head, beside) if beside else head

    def _head(self, value: Any, beside: list[memoryview]) -> bytes:
        with suppress(ormsgpack.MsgpackEncodeError):
            return ormsgpack.packb(value, lambda foreign: self._foreign(foreign, _PIECE), _OPTIONS)
        beside.clear()
        with suppress(ormsgpack.MsgpackEncodeError):
            packed = ormsgpack.packb(value, lambda foreign: self._rewritten(foreign, _PIECE), _ANY_KEYS)
            if _has_native_keys(value):
                return packed
        beside.clear()
        try:
            return _packed(self._rewritten(value, 0))
        except Unwritable as exc:
            raise exc.error() from exc.__cause__
        except RecursionError:
            raise too_deep(value).error() from None

    def _rewritten(self, value: Any, depth: int) -> Any:
        """Return what ormsgpack writes faithfully in place of ``value``, with ``depth`` levels around it.

        One call for each level, and no other function between: Python's recursion limit counts them.
        """
        kind = type(value)
        if kind not in _CONTAINERS:
            if _is_native(value):
                return value
            if depth > NESTING:
                raise too_deep(value)
            plain = self._foreign(value, depth)
            return plain if type(plain) is Ext else self._rewritten(plain, depth + 1)
        if depth >= NESTING:
            raise too_deep(value)
        keys = self._keys(value, depth + 3) if kind is dict else None
        below = depth + 1 if keys is None or _are_native(keys) else depth + 3
        children: list[Any] = []
        for child in value.values() if kind is dict else value:
            try:
                children.append(child if _is_native(child) else self._rewritten(child, below))
            except Unwritable as exc:
                exc.steps.append(step(value, len(children)))
                raise
        built = children if keys is None else _map(keys, children)
        return built if (depth + 1) % _SPLIT else _ours("nested", built)

    def _keys(self, keys: Iterable[Any], depth: int) -> list[Any]:
        written: list[Any] = []
        for key in keys:
            try:
                written.append(key if _is_native(key) else self._hashable(key, depth))
            except Unwritable as exc:
                exc.steps.append(f"[key {len(written)}]")
                raise
        return written

    def _hashable(self, value: Any, depth: int) -> Any:
        """Return what to write for a key or an element of a set."""
        written = self._rewritten(value, depth)
        if type(value) not in _KEYS:
            self._check(value, written, is_same_key)
        return written

    def _check(self, value: Any, written: Any, compare: Callable[[Any, Any], bool]) -> None:
        """Raise ``Unwritable`` unless the reader gets the value back."""
        try:
            kept = compare(self._reader.read(_packed(written)), value)
        except Exception:  # noqa: BLE001 - a registered type may raise anything
            kept = False
        if not kept:
            raise unequal(value)

    def _foreign(self, value: Any, depth: int) -> Any:
        """Return the extension that stands for ``value``, or a plainer value that is still to be written."""
        if isinstance(value, _PLAIN_KINDS) and not isinstance(value, Enum):
            return _plain(value)
        try:
            plain = self._types.default(value)
        except TypeError:
            return self._unregistered(value, depth)
        except PipelineError as exc:  # one of our own types: its text holds nothing of the value
            raise Unwritable(value, "its encoder declined it", str(exc)) from exc
        except Exception as exc:
            raise Unwritable(
                value, f"its encoder raised {type(exc).__name__}", "correct the encoder"
            ) from exc
        if isinstance(plain, dict) and plain.keys() == {"__type__", "__value__"}:
            return self._typed(value, plain["__type__"], plain["__value__"], depth)
        return plain

    def _unregistered(self, value: Any, depth: int) -> Any:
        kind = value.__class__  # of a proxy, that of what it stands for
        if isinstance(value, _PLAIN_KINDS):
            return _plain(value)
        if kind in {set, frozenset}:
            return _ours(kind.__name__, [self._hashable(element, depth + 3) for element in value])
        if kind is timedelta:
            return _ours("timedelta", [value.days, value.seconds, value.microseconds])
        if kind in {bytearray, memoryview}:
            return bytes(value)  # ormsgpack writes a memoryview so too, before the hook
        if (found := libraries.written(value)) is not None:
            return _ours(*found)
        raise unknown(value)

    def _typed(self, value: Any, marker: str, content: Any, depth: int) -> Ext:
        written = Ext(TYPED, _packed([marker, self._rewritten(content, depth + 2)]))
        folded = isinstance(value, (datetime, time)) and value.fold
        if folded:
            written = _ours("fold", written)
        is_foreign = type(value) not in _EXACT and isinstance(value, _KOMBU)
        if folded or is_foreign or has_short_offset(value):
            self._check(value, written, is_same)
        return written


def _plain(value: Any) -> Any:
    if type(value) is int:
        return _ours("int", value.to_bytes(value.bit_length() // 8 + 1, signed=True))
    if type(value) is str:
        return _ours("text", value.encode("utf-8", "surrogatepass"))
    kind = next(kind for kind in _PLAIN_KINDS if isinstance(value, kind))
    if issubclass(type(value), kind):
        plain = _PLAIN[kind](value)
    else:  # a proxy, as that of a large result is
        plain = value[:] if kind is bytes else kind(value)
    return plain if kind is tuple else _same(plain, value)


def _same(plain: Any, value: Any) -> Any:
    """Return a plain value, if it equals the one that it stands for: a subclass may compare as it likes.

    Of a list or dict, Python finds the contents identical and compares them no further.

    Raises:
        Unwritable: it does not, and is not NaN, which equals nothing.
    """
    try:
        is_same = plain == value or plain != plain  # noqa: PLR0124
    except Exception as exc:  # __eq__ is the application's code: it may raise anything
        raise unequal(value) from exc
    if is_same:
        return plain
    raise unequal(value)


def _is_native(value: Any) -> bool:
    """Say whether MessagePack has such a value, which is no list and no dict."""
    kind = type(value)
    if kind is str:
        return value.isascii() or _is_unicode(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    return kind in _ATOMS


def _has_native_keys(value: Any) -> bool:
    """Say whether MessagePack has the keys of all dicts in a value, which does not contain itself."""
    unseen = [value] if type(value) in _CONTAINERS else []
    while unseen:
        seen = unseen.pop()
        if type(seen) is dict:
            if not _KEYS.issuperset(map(type, seen)):
                return False
            seen = seen.values()
        unseen.extend([child for child in seen if type(child) in _CONTAINERS])
    return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_native(keys: list[Any]) -> bool:
    return all(type(key) in _KEYS for key in keys)


def _map(keys: list[Any], children: list[Any]) -> Any:
    if _are_native(keys):
        return dict(zip(keys, children, strict=True))
    return _ours("map", [each for pair in zip(keys, children, strict=True) for each in pair])


def _ours(name: str, content: Any) -> Ext:
    return Ext(OURS, _packed([name, content]))


def _packed(rewritten: Any) -> bytes:
    return ormsgpack.packb(rewritten, None, ormsgpack.OPT_NON_STR_KEYS)

"""Values to bytes and back: MessagePack with the application's own types, JSON where that falls short.

Whatever Kombu's ``json`` serializer round-trips comes back equal, and bytes travel as bytes. Types that
MessagePack lacks travel as extension 1, ``[marker, value]``, with the markers of
``kombu.utils.json.register_type``; that registry is handed in (see ``serializer.py``), so this module
knows no vendor. The few values that JSON can write and MessagePack cannot (lone surrogates, nesting
beyond 1,024 levels) travel as JSON. Pickle is read and written only by an application that asks for it.

Why ormsgpack, and why the garbage collector is held off while decoding: docs/codec.md.
"""

import gc
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ormsgpack

from pipeline.errors import ClaimError, PayloadCorruptError, PayloadEncodeError

MSGPACK = "msgpack"
JSON = "json"
PICKLE = "pickle"

EMBED_LIMIT_BYTES = 262_144
"""A larger ``embed`` is not decoded: 256 KiB of empty lists already take 16 MiB."""

EMBED_EXTENSIONS = 4
"""How deep registered types nest inside each other in an ``embed``."""

_TYPED = 1
_BIG_INTEGER = 2

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS  # their contents need not lie where the base class keeps its own
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    list: list,
    tuple: list,
    dict: lambda mapping: dict(mapping.items()),
}
"""What JSON makes of subclasses. Celery's ``regen`` is a list that is empty inside until it is iterated."""

_PLAIN_KINDS = tuple(_PLAIN)

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}\Z", re.ASCII)
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class TypedValues:
    """How the application's JSON treats types that JSON lacks."""

    dumps: Callable[[Any], str]
    """Any value to JSON text."""
    loads: Callable[[bytes], Any]
    """JSON text to a value."""
    default: Callable[[Any], Any]
    """A value of a foreign type to one that JSON has, or to ``{"__type__": marker, "__value__": …}``."""
    restore: Callable[[dict[str, Any]], Any]
    """The inverse of ``default`` for marked values."""


class Codec:
    """Encodes and decodes whole values. Stateless, and safe to share between threads.

    Args:
        types: the application's type registry.
        name: what to write: ``msgpack`` or ``pickle``. Pickle is read only when it is also what is written.
    """

    def __init__(self, types: TypedValues, name: str = MSGPACK) -> None:
        if name not in {MSGPACK, PICKLE}:
            raise ValueError(f"codec={name!r}: expected {MSGPACK!r} or {PICKLE!r}")
        self.name = name
        self._types = types

    def encode(self, value: Any) -> tuple[str, bytes]:
        """Return the name of the codec used and ``value`` as bytes.

        Raises:
            PayloadEncodeError: some part of ``value`` cannot be written; names its path and type.
        """
        if self.name == PICKLE:
            return PICKLE, self._pickle(value)
        try:
            return MSGPACK, ormsgpack.packb(value, self._default, _OPTIONS)
        except ormsgpack.MsgpackEncodeError:
            return JSON, self._json(value)

    def decode(self, codec: str, data: bytes) -> Any:
        """Return the value that :meth:`encode` wrote.

        Raises:
            PayloadCorruptError: the bytes do not hold such a value.
            ClaimError: this process does not read ``codec``.
            MemoryError: there is no room for it, which is no fault of the bytes.
        """
        read = self._readers().get(codec)
        if read is None:
            known = ", ".join(self._readers())
            raise ClaimError(
                f"claim refused [codec={codec}]: this process reads {known}; "
                "give producers and workers the same codec"
            )
        try:
            with _garbage_collector_held():
                return read(data)
        except MemoryError:
            raise
        except Exception as exc:  # noqa: BLE001 - a parser or a registered type: the bytes are to blame
            # Not "from exc": what it says goes into logs and events, and may hold the payload's text.
            raise PayloadCorruptError(
                f"payload corrupt: {codec} cannot read it: {type(exc).__name__}"
            ) from None

    def encode_embed(self, embed: Mapping[str, Any]) -> bytes:
        """Return the ``embed`` of a task as bytes that :meth:`decode_embed` reads, in the publishing process.

        Raises:
            PayloadEncodeError: :meth:`decode_embed` would not read it: some map has a key that is not text,
                or a value cannot be written. The arguments of its signatures may be detached instead.
        """
        try:
            encoded = ormsgpack.packb(dict(embed), self._default, _OPTIONS & ~ormsgpack.OPT_NON_STR_KEYS)
            self.decode_embed(encoded)
        except (ormsgpack.MsgpackEncodeError, PayloadCorruptError) as exc:
            raise PayloadEncodeError(
                f"embed not serialisable [{exc}]: callbacks, chain and chord travel with text as keys"
            ) from exc
        return encoded

    def decode_embed(self, data: bytes, limit_bytes: int = EMBED_LIMIT_BYTES) -> dict[str, Any]:
        """Return the ``embed`` of a task, in any process: bounded, as the main process of a worker reads it.

        Maps have keys of text alone, whose hashes nobody can make collide; extensions nest
        ``EMBED_EXTENSIONS`` deep at most, so that no nesting exhausts the stack.

        Raises:
            PayloadCorruptError: the bytes do not hold such a map, or are more than ``limit_bytes``.
        """
        if len(data) > limit_bytes:
            raise PayloadCorruptError(
                f"embed too large [{len(data)} bytes]: the limit is {limit_bytes} bytes"
            )
        try:
            embed = self._unpack_embed(data, EMBED_EXTENSIONS)
        except Exception as exc:  # noqa: BLE001 - as in decode
            raise PayloadCorruptError(f"embed corrupt: {type(exc).__name__}") from None
        if not isinstance(embed, dict):
            raise PayloadCorruptError(f"embed corrupt: expected a map, found {type(embed).__name__}")
        return embed

    def _unpack_embed(self, data: bytes, extensions: int) -> Any:
        def restore(code: int, data: bytes) -> Any:
            if code == _BIG_INTEGER:
                return int(data)
            if code != _TYPED or not extensions:
                raise ValueError(code)
            marker, value = self._unpack_embed(data, extensions - 1)
            return self._types.restore({"__type__": marker, "__value__": value})

        return ormsgpack.unpackb(data, ext_hook=restore)

    def _readers(self) -> Mapping[str, Callable[[bytes], Any]]:
        readers: dict[str, Callable[[bytes], Any]] = {
            MSGPACK: self._unpack,
            JSON: self._types.loads,
        }
        # Unpickling runs whatever the sender wrote: never unless the application opted in.
        return readers | {PICKLE: pickle.loads} if self.name == PICKLE else readers

    def _unpack(self, data: bytes) -> Any:
        lacks: list[MemoryError] = []

        def restore(code: int, data: bytes) -> Any:
            try:
                return self._restore(code, data)
            except MemoryError as exc:
                lacks.append(exc)
                raise

        try:
            return ormsgpack.unpackb(data, ext_hook=restore, option=ormsgpack.OPT_NON_STR_KEYS)
        except ormsgpack.MsgpackDecodeError as exc:  # of what its hook raises, ormsgpack says nothing
            raise next(iter(lacks), exc) from None

    def _default(self, value: Any) -> Any:
        if isinstance(value, _PLAIN_KINDS):
            return self._plain(value)
        plain = self._types.default(value)
        if isinstance(plain, dict) and plain.keys() == {"__type__", "__value__"}:
            marked = (plain["__type__"], plain["__value__"])
            return ormsgpack.Ext(_TYPED, ormsgpack.packb(marked, self._default, _OPTIONS))
        return plain

    def _plain(self, value: Any) -> Any:
        if type(value) is int:
            return ormsgpack.Ext(_BIG_INTEGER, str(value).encode())
        return next(plainly(value) for kind, plainly in _PLAIN.items() if isinstance(value, kind))

    def _restore(self, code: int, data: bytes) -> Any:
        if code == _BIG_INTEGER:
            return int(data)
        if code != _TYPED:
            raise ValueError(code)
        marker, value = self._unpack(data)
        return self._types.restore({"__type__": marker, "__value__": value})

    def _json(self, value: Any) -> bytes:
        try:
            return self._types.dumps(value).encode("utf-8")
        except (TypeError, ValueError, RecursionError, OverflowError) as exc:
            raise self._unwritable(value) from exc

    def _pickle(self, value: Any) -> bytes:
        try:
            return pickle.dumps(value, protocol=5)
        except Exception as exc:  # __reduce__ is the application's code: it may raise anything
            raise self._unwritable(value) from exc

    def _unwritable(self, value: Any) -> PayloadEncodeError:
        path, culprit = self._culprit(value)
        kind = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
        return PayloadEncodeError(
            f"payload not serialisable [path={path or 'body'}, type={kind}]: {self.name} and json cannot "
            "write it; pass a plain value, or register the type with kombu.utils.json.register_type"
        )

    def _culprit(self, value: Any) -> tuple[str, Any]:
        path = ""
        for _ in range(_DEEPEST):
            for step, child in _children(value):
                if not self._writable(child):
                    path, value = path + step, child
                    break
            else:
                break
        return path, value

    def _writable(self, value: Any) -> bool:
        try:
            if self.name == PICKLE:
                pickle.dumps(value, protocol=5)
            else:
                self._types.dumps(value)
        except Exception:  # noqa: BLE001 - the question is only whether it can be written
            return False
        return True


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for position, (key, child) in enumerate(value.items()):
            yield f"[{_label(key, position)}]", child
    elif isinstance(value, (list, tuple)):
        for position, child in enumerate(value):
            yield f"[{position}]", child


def _label(key: Any, position: int) -> str:
    """A key may itself be confidential: only what looks like a field's name is shown."""
    return repr(key) if isinstance(key, str) and _WORD.match(key) else f"key {position}"


@contextmanager
def _garbage_collector_held() -> Iterator[None]:
    """Hold the collector off: while a big value is built, it walks every new container in vain.

    Another thread may find it off and leave it so; the one that turned it off always turns it on again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

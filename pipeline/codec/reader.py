"""Bytes to values: whole payloads where a task runs, and embeds, within bounds, in any process."""

from typing import Any

import msgspec
import ormsgpack

from pipeline.codec.extensions import NAMES, OURS, PLAIN_NAMES, TYPED, TypedValues

EMBED_LIMIT_BYTES = 262_144
"""A larger ``embed`` is not decoded: 256 KiB of empty lists already take 16 MiB."""

EMBED_EXTENSIONS = 4
"""How deep extensions nest inside each other in an ``embed``."""


class Reader:
    """Reads what :class:`Writer` wrote. Raises whatever a parser or a registered type raises.

    Args:
        types: the application's type registry.
    """

    def __init__(self, types: TypedValues) -> None:
        self._types = types
        # Its nesting counts against Python's recursion limit, across extensions too. ormsgpack begins to
        # count anew in each: thirty extensions of a thousand lists overflow the stack and end the process.
        self.read = msgspec.msgpack.Decoder(ext_hook=self._restore).decode

    def _restore(self, code: int, data: memoryview) -> Any:
        name, content = self.read(data)
        return self._value(code, name, content, NAMES)

    def read_embed(self, data: bytes, extensions: int = EMBED_EXTENSIONS) -> Any:
        """Read a value whose dicts have text as keys alone, whose sets are none and whose nesting is bounded.

        ormsgpack, unlike msgspec, refuses other keys before it computes their hashes.
        """

        def restore(code: int, data: bytes) -> Any:
            if not extensions:
                raise ValueError("extensions nest too deep")
            name, content = self.read_embed(data, extensions - 1)
            return self._value(code, name, content, PLAIN_NAMES)

        return ormsgpack.unpackb(data, ext_hook=restore)

    def _value(self, code: int, name: Any, content: Any, names: Any) -> Any:
        if code == TYPED:
            return self._types.restore({"__type__": name, "__value__": content})
        if code == OURS:
            return names[name](content)
        raise ValueError("unknown extension")

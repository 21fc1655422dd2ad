"""Bytes to values: whole payloads where a task runs, and embeds, within bounds, in any process."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import ormsgpack

from pipeline.aws.limits import SQS_MESSAGE_LIMIT_BYTES
from pipeline.claimcheck.codec import libraries
from pipeline.claimcheck.codec.buffers import BUFFERED, split
from pipeline.claimcheck.codec.extensions import NAMES, OURS, PLAIN_NAMES, TYPED, TypedValues
from pipeline.claimcheck.codec.large_texts import LARGE_TEXT, taken_out
from pipeline.claimcheck.memory import Bytes

EMBED_LIMIT_BYTES = SQS_MESSAGE_LIMIT_BYTES // 4 * 3
"""A larger ``embed`` is not decoded: it holds as much as base64 in the largest message."""

EMBED_CONTAINERS = 65_536
"""An ``embed`` is not decoded that may hold more lists and dicts: of a byte, each makes 64 or more. Together
the two limits bound what is decoded to some 16 MiB."""

_HEADS = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
"""First bytes of lists and dicts in MessagePack; text that is not ASCII holds some too."""

EMBED_EXTENSIONS = 4
"""How deep extensions nest inside each other in an ``embed``."""


class Reader:
    """Reads what ``Writer`` wrote. Raises whatever a parser or a registered type raises.

    Args:
        types: the application's type registry.
    """

    def __init__(self, types: TypedValues) -> None:
        self._types = types
        self.read = self._reading(None)

    def read_payload(self, data: Bytes) -> Any:
        """Read a whole payload; its memory may be given back meanwhile, and must not be read again."""
        rest, texts = taken_out(data)
        try:
            return self._reading(None, texts)(rest) if texts else self.read(data)
        finally:
            texts.clear()  # a decoder and its hook refer to each other: they would keep the texts

    def _reading(
        self, beside: Sequence[memoryview] | None, texts: Sequence[Any] = ()
    ) -> Callable[[Bytes], Any]:
        """Return what reads a value; ``beside`` are its buffers, None if it may bring some.

        Its nesting counts against Python's recursion limit, across extensions too. ormsgpack begins to
        count anew in each: thirty extensions of a thousand lists overflow the stack and end the process.
        """

        def restore(code: int, data: memoryview) -> Any:
            if code == BUFFERED and beside is None:
                return self._buffered(*split(data))
            if code == LARGE_TEXT and texts:
                return texts[int.from_bytes(data)]
            name, content = read(data)
            if code == OURS and name in libraries.READERS:
                return libraries.restored(name, content, beside or ())
            return self._value(code, name, content, NAMES)

        read = msgspec.msgpack.Decoder(ext_hook=restore).decode
        return read

    def _buffered(self, head: memoryview, views: list[memoryview]) -> Any:
        try:
            return self._reading(views)(head)
        finally:
            views.clear()  # as above

    def read_embed(self, data: bytes, extensions: int = EMBED_EXTENSIONS) -> Any:
        """Read a value whose dicts have text as keys alone, whose sets are none, and which is bounded.

        ormsgpack, unlike msgspec, raises for other keys before it computes their hashes.
        """
        if len(data) > EMBED_LIMIT_BYTES or len(data) - len(data.translate(None, _HEADS)) > EMBED_CONTAINERS:
            raise ValueError("too large")

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

"""Values to bytes and back: what arrives equals what was sent, or its publisher gets an error.

Values travel as MessagePack. What MessagePack lacks travels as extensions (``extensions.py``): the types that
the application registered with ``kombu.utils.json.register_type``, and a few of Python's own. The registry is
handed in (see ``serializer/serializer.py``), so this package knows no vendor. Pickle is read and written
only by an application that asks for it. docs/reference/types.md lists each type,
docs/explanation/codec.md why these parsers.
"""

import gc
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.claimcheck.codec import pickling
from pipeline.claimcheck.codec.extensions import NESTING, TypedValues
from pipeline.claimcheck.codec.reader import Reader
from pipeline.claimcheck.codec.unwritable import unwritable_in
from pipeline.claimcheck.codec.writer import Writer
from pipeline.claimcheck.memory import Bytes
from pipeline.errors import ClaimError, PayloadCorruptError, PayloadError

__all__ = ["NESTING", "Codec", "TypedValues"]

_NO_EMBED = "callbacks, chain and chord have keys of text alone, no sets, and 768 KiB at most"
_EMBED_REMEDY = "pass it as an argument of their tasks"

MSGPACK = "msgpack"
PICKLE = "pickle"


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
        self._reader = Reader(types)
        self._writer = Writer(types, self._reader)

    def encode(self, value: Any) -> tuple[str, bytes]:
        """Return the name of the codec used and ``value`` as bytes, in the publishing process.

        Raises:
            PayloadEncodeError: some part of ``value`` cannot be written; names its path and type.
        """
        write = pickling.dumps if self.name == PICKLE else self._writer.write
        return self.name, write(value)

    def decode(self, codec: str, data: Bytes) -> Any:
        """Return the value that ``encode`` wrote, in the process that executes the task.

        The memory of ``data`` may be given back: it must not be read again.

        Raises:
            PayloadCorruptError: the bytes do not hold such a value.
            ClaimError: this process does not read ``codec``.
            MemoryError: memory is exhausted; the bytes may be valid.
        """
        read = self._readers().get(codec)
        if read is None:
            known = ", ".join(self._readers())
            raise ClaimError(
                f"claim rejected [codec={codec}]: this process reads {known}; "
                "give producers and workers the same codec"
            )
        with _readable("payload", codec), _garbage_collector_held():
            return read(data.toreadonly() if isinstance(data, memoryview) else data)

    def encode_embed(self, embed: Mapping[str, Any]) -> bytes:
        """Return the ``embed`` of a task as bytes that ``decode_embed`` reads, in the publishing process.

        Raises:
            PayloadEncodeError: a value cannot be written, or ``decode_embed`` would not read it. The
                arguments of signatures may be detached instead.
        """
        encoded = self._writer.write(dict(embed))
        try:
            self.decode_embed(encoded)
        except PayloadCorruptError:
            raise unwritable_in(dict(embed), self._is_embeddable, _NO_EMBED, _EMBED_REMEDY).error() from None
        return encoded

    def _is_embeddable(self, value: Any) -> bool:
        try:
            self.decode_embed(self._writer.write({"": value}))
        except PayloadError:
            return False
        return True

    def decode_embed(self, data: bytes) -> dict[str, Any]:
        """Return the ``embed`` of a task, in any process: bounded, as the main process of a worker reads it.

        Maps have keys of text alone, whose hashes cannot be made to collide, and there are no sets; nesting
        and size are bounded, so that nothing exhausts the stack or takes more than some 16 MiB.

        Raises:
            PayloadCorruptError: the bytes do not hold such a map.
        """
        with _readable("embed", MSGPACK):
            embed = self._reader.read_embed(data)
        if not isinstance(embed, dict):
            raise PayloadCorruptError(f"embed corrupt: expected a map, found {type(embed).__name__}")
        return embed

    def _readers(self) -> Mapping[str, Callable[[Bytes], Any]]:
        readers: dict[str, Callable[[Bytes], Any]] = {MSGPACK: self._reader.read_payload}
        # Unpickling runs whatever the sender wrote: never unless the application opted in.
        return readers | {PICKLE: pickle.loads} if self.name == PICKLE else readers


@contextmanager
def _readable(what: str, codec: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, ClaimError):  # of a library that is not installed
        raise
    except Exception as exc:  # noqa: BLE001 - a parser or a registered type: the bytes are to blame
        # Not "from exc": its text goes into logs and events, and may hold the payload's text.
        raise PayloadCorruptError(f"{what} corrupt: {codec} cannot read it: {type(exc).__name__}") from None


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

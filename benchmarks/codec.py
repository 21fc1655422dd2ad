"""Which codec: encode and decode realistic records and bytes, with and without the garbage collector."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import msgspec
import ormsgpack
from kombu.utils import json

from benchmarks.measure import MEGABYTE, markdown, milliseconds, records, without_gc
from pipeline.claimcheck.codec import Codec
from pipeline.serializer.serializer import KOMBU_TYPES

_default = json.JSONEncoder().default


def _msgpack_default(value: Any) -> Any:
    marked = _default(value)
    return msgpack.ExtType(1, msgpack.packb([marked["__type__"], marked["__value__"]]))


def _msgpack_restore(_: int, data: bytes) -> Any:
    marker, value = msgpack.unpackb(data)
    return json.object_hook({"__type__": marker, "__value__": value})


ours = Codec(KOMBU_TYPES)
CODECS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "kombu json": (lambda value: json.dumps(value).encode(), json.loads),
    "msgpack + types": (
        lambda value: msgpack.packb(value, default=_msgpack_default),
        lambda data: msgpack.unpackb(data, ext_hook=_msgpack_restore, strict_map_key=False),
    ),
    "msgspec, no types": (msgspec.msgpack.encode, msgspec.msgpack.decode),
    "ormsgpack, no types": (ormsgpack.packb, ormsgpack.unpackb),
    "ours: ormsgpack + types": (lambda value: ours.encode(value)[1], ours._reader.read),  # noqa: SLF001
}


def inputs() -> Iterator[tuple[str, Any]]:
    yield "8 MB of records", records(35_000)
    yield "the same with datetime and Decimal", records(35_000, typed=True)
    yield "50 MB of bytes", random.Random(1).randbytes(50 * MEGABYTE)


def rows() -> Iterator[tuple[str, ...]]:
    for label, value in inputs():
        for name, (encode, decode) in CODECS.items():
            yield (label, name, *_figures(value, encode, decode))


def _figures(value: Any, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> tuple[str, ...]:
    try:
        data = encode(value)
    except TypeError:
        return ("cannot",) * 5
    read = lambda: decode(data)  # noqa: E731
    times = (milliseconds(lambda: encode(value)), milliseconds(read), milliseconds(without_gc(read)))
    equal = "yes" if decode(data) == value else "no"
    return (*(f"{time:.0f}" for time in times), f"{len(data) / MEGABYTE:.1f}", equal)


def table() -> str:
    head = ("input", "codec", "encode ms", "decode ms", "decode ms, gc off", "MB", "equal")
    return markdown(head, rows())

"""Tables of Arrow, and frames and series of pandas and polars, as Arrow's stream format (IPC).

``tables`` below has a module for each library: what makes a table of a value, and the value of a table. A
value that would not come back equal is an error for its publisher: what was written is read back, compared,
and only then sent. Columns of Python objects are not sent at all.

Streams from others are bounded: compressed ones are rejected, because their buffers may expand to any size,
and what they hold is validated, because Arrow trusts the offsets in a stream.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from struct import unpack_from
from typing import TYPE_CHECKING, Any

from pipeline.claimcheck.codec import buffers

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "table"

KINDS = {
    "pyarrow": frozenset({"Table", "RecordBatch"}),
    "pandas": frozenset({"DataFrame", "Series"}),
    "polars": frozenset({"DataFrame", "Series"}),
}
"""Types by library; each library is an extra of this package."""

_MODULES = {
    "pyarrow": "pipeline.claimcheck.codec.pyarrow_tables",
    "pandas": "pipeline.claimcheck.codec.pandas_frames",
    "polars": "pipeline.claimcheck.codec.polars_frames",
}


def written(value: Any) -> tuple[str, list[Any]] | None:
    """Return the name and content of what stands for a table; None for a value that is none.

    Raises:
        ImportError: the extra of its library is not installed as a whole.
        ValueError, TypeError, pyarrow.ArrowException: the value would not come back equal.
    """
    library = type(value).__module__.partition(".")[0]
    kind = type(value).__qualname__
    if kind not in KINDS.get(library, ()):
        return None
    module = import_module(_MODULES[library])
    table, about = module.table_of(value)
    stream = _stream(table)
    if not module.is_same(module.value_of(kind, _table(stream), about), value):
        raise ValueError("it is not equal")
    return NAME, [library, kind, about, buffers.named(stream)]


def table(content: Any, beside: Sequence[memoryview]) -> Any:
    """Return what ``written`` wrote, where the library can as a view of the payload.

    Raises:
        ImportError: its library, or pyarrow, is not installed.
        ValueError, TypeError, pyarrow.ArrowException: the content is none.
    """
    library, kind, about, name = content
    if kind not in KINDS[library]:
        raise ValueError("no such kind")
    module = import_module(_MODULES[library])
    found = _table(buffers.found(name, beside))
    found.validate(full=True)
    return module.value_of(kind, found, about)


def _stream(table: "pa.Table") -> memoryview:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def _table(stream: memoryview) -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415 - an extra

    buffer = pa.py_buffer(stream)
    if any(map(_is_compressed, _messages(buffer))):
        raise ValueError("a compressed stream")
    with pa.ipc.open_stream(buffer) as reader:
        return reader.read_all()


def _messages(buffer: Any) -> Iterator[Any]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    reader = pa.ipc.MessageReader.open_stream(buffer)
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


def _is_compressed(message: Any) -> bool:
    """Say whether the buffers of a message are compressed, which only its own header says.

    Source: Arrow, ``format/Message.fbs``: Message.header is field 2, DictionaryBatch.data 1,
    RecordBatch.compression 3; FlatBuffers, "Internals".
    """
    if message.type == "schema":
        return False
    data = memoryview(message.metadata)
    header = _child(data, _target(data, 0), 2)
    if message.type == "dictionary":
        header = _child(data, header, 1)
    return _field(data, header, 3) != 0


def _child(data: memoryview, start: int, number: int) -> int:
    """Return where the table is that a field of a table in a FlatBuffer refers to."""
    field = _field(data, start, number)
    if not field:
        raise ValueError("a message without its header")
    return _target(data, field)


def _target(data: memoryview, start: int) -> int:
    return start + int(unpack_from("<I", data, start)[0])


def _field(data: memoryview, start: int, number: int) -> int:
    """Return where a field of a table is; 0 if the table lacks it."""
    layout = start - int(unpack_from("<i", data, start)[0])
    at = 4 + 2 * number
    if at >= int(unpack_from("<H", data, layout)[0]):
        return 0
    offset = int(unpack_from("<H", data, layout + at)[0])
    return start + offset if offset else 0

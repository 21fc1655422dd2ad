"""Arrays and tables arrive as docs/reference/types.md says, without a copy where possible, within bounds."""

import struct
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import ormsgpack
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from kombu.utils import json
from ormsgpack import Ext
from test_types import WRAPS, Money, rows

from pipeline.claimcheck.codec import Codec, buffers
from pipeline.claimcheck.codec.extensions import OURS
from pipeline.claimcheck.codec.libraries import READERS
from pipeline.deferred.lazy import as_json
from pipeline.errors import ClaimError, PayloadCorruptError, PayloadEncodeError
from pipeline.serializer.serializer import KOMBU_TYPES

CODEC_PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "codec.md"

codec = Codec(KOMBU_TYPES)
NAMES = {"np": np, "pd": pd, "pl": pl, "pa": pa}


@pytest.fixture(autouse=True)
def _registered():
    json.register_type(Money, "money", lambda money: money.cents, Money)
    yield
    json._encoders.pop(Money)
    json._decoders.pop("money")


def same(back, value):
    """Compare what the libraries' own ``==`` does not."""
    assert type(back) is type(value)
    if isinstance(value, list):
        assert len(back) == len(value)
        return all(map(same, back, value))
    if isinstance(value, (np.ndarray, np.generic)):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        assert not isinstance(back, np.ndarray) or back.flags.aligned
        return back.tobytes() == value.tobytes()
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(back, value, check_freq=True, check_exact=True)
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(back, value, check_freq=True, check_exact=True)
    else:
        assert back.equals(value)
    schema = getattr(value, "schema", None)
    return schema is None or (
        back.schema == schema and getattr(back.schema, "metadata", 0) == getattr(schema, "metadata", 0)
    )


UNWRAPS = {
    "alone": lambda value: value,
    "nested": lambda value: value["a"][1]["b"][0],
    "beside other keys than text": lambda value: value[1][0],
    "in a registered type": lambda value: value.cents,
}


@pytest.mark.parametrize(("sent", "extra", "verdict"), rows("arrays"))
def test_a_value_arrives_as_the_page_says(sent, extra, verdict):
    """Each array and table arrives equal, or is an error for its publisher, in each surrounding."""
    value = eval(sent.strip("`"), NAMES)
    for name, wrap in WRAPS.items():
        if verdict == "error":
            with pytest.raises(PayloadEncodeError, match=r"type=\S+\]: "):
                codec.encode(wrap(value))
        else:
            assert same(UNWRAPS[name](codec.decode(*codec.encode(wrap(value)))), value), name


def memory(value):
    """Return the memory of an array, or of the first column of a table."""
    column = value["a"] if not isinstance(value, np.ndarray | np.generic) else value
    return np.asarray(column)


@pytest.mark.parametrize(
    ("sent", "extension", "read", "extra", "verdict"), rows("memory", CODEC_PAGE.read_text())
)
def test_a_value_travels_as_the_page_on_the_codec_says(sent, extension, read, extra, verdict):
    """Each kind of value has its extension, is a view of the payload or a copy, and is equal or an error."""
    value = eval(sent.strip("`"), NAMES)
    if verdict == "error":
        with pytest.raises(PayloadEncodeError, match=r"type=\S+\]: "):
            codec.encode(value)
        return
    kind, data = codec.encode(value)
    back = codec.decode(kind, data)

    assert same(back, value)
    assert type(value).__module__.partition(".")[0] == extra.strip("`")
    assert extension.strip("`").encode() in data
    assert np.shares_memory(memory(back), np.frombuffer(data, np.uint8)) == (read == "a view, read-only")
    assert read == "a copy" or not memory(back).flags.writeable


def test_an_array_is_a_view_of_its_payload():
    """A large array is written once, aligned, and read without a copy."""
    sent = np.arange(1e5)
    _, data = codec.encode([["x", sent], {"more": sent[:70_000]}, []])
    [_, first], kwargs, _ = codec.decode("msgpack", data)
    whole = np.frombuffer(data, np.uint8)

    assert len(data) < sent.nbytes * 1.7 + 500
    for array in (first, kwargs["more"]):
        assert np.shares_memory(array, whole)
        assert (array.ctypes.data - whole.ctypes.data) % buffers.ALIGNMENT == 0
        assert not array.flags.writeable


def test_a_payload_ends_with_its_arrays():
    """Nothing but its arrays keeps a payload in memory, also without the garbage collector."""
    _, data = codec.encode(np.arange(1e5))
    owners = sys.getrefcount(data)
    array = codec.decode("msgpack", data)
    assert sys.getrefcount(data) > owners
    del array

    assert sys.getrefcount(data) == owners


DTYPES = npst.scalar_dtypes() | npst.byte_string_dtypes(min_len=1) | npst.unicode_string_dtypes(min_len=1)


@given(array=npst.arrays(DTYPES, npst.array_shapes(min_dims=0, min_side=0)), order=st.sampled_from("CF"))
def test_any_array_arrives_equal(array, order):
    """An array of any shape and order and plain dtype arrives with the same memory, or is an error."""
    sent = np.asarray(array, order=order)
    with suppress(PayloadEncodeError):
        assert same(codec.decode(*codec.encode([sent])), [sent])


@given(data=st.binary(max_size=200), name=st.sampled_from(sorted(READERS)))
def test_any_content_is_read_or_corrupt(data, name):
    """Whatever stands where an array or table is expected is a value or corrupt, and nothing worse."""
    for content in (data, ["<f8", [1], "C", data], ["pyarrow", "Table", None, data]):
        with suppress(PayloadCorruptError):
            codec.decode("msgpack", ours(name, content))
    with suppress(PayloadCorruptError):
        codec.decode("msgpack", ormsgpack.packb(Ext(buffers.BUFFERED, data)))


def test_a_table_of_arrow_is_a_view_of_its_payload():
    """The columns of an Arrow table are read without a copy."""
    _, data = codec.encode(pa.table({"a": np.arange(1e5)}))
    column = codec.decode("msgpack", data)["a"].chunk(0).to_numpy()

    assert np.shares_memory(column, np.frombuffer(data, np.uint8))


def test_a_callback_does_not_carry_arrays():
    """The main process of a worker decodes no arrays: they are detached from callbacks."""
    for array in (np.arange(3), np.arange(1e5)):
        with pytest.raises(PayloadEncodeError, match=r"type=numpy\.ndarray"):
            codec.encode_embed({"callbacks": [{"args": [array]}]})


@pytest.mark.parametrize(
    ("value", "module", "extra"),
    [
        (np.arange(1e5), "numpy", "numpy"),
        (pd.DataFrame({"a": [1]}), "pyarrow", "pandas"),
        (pl.DataFrame({"a": [1]}), "polars", "polars"),
        (pa.table({"a": [1]}), "pyarrow", "pyarrow"),
    ],
    ids=["numpy", "pandas", "polars", "pyarrow"],
)
def test_without_the_extra(monkeypatch, value, module, extra):
    """A worker without a library says which extra to install, and so does a publisher without pyarrow."""
    written = codec.encode(value)
    for name in [name for name in sys.modules if name.endswith(("_frames", "_tables")) and "codec" in name]:
        if not name.endswith("arrow_tables") or name.endswith("pyarrow_tables"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ClaimError, match=rf"{module} is not installed here.*pipeline\[{extra}\]"):
        codec.decode(*written)
    if module == "pyarrow":
        with pytest.raises(PayloadEncodeError, match=rf"{module} is not installed; .*pipeline\[{extra}\]"):
            codec.encode(value)


def test_where_json_is_written():
    """The name of its type stands for an array or table where monitors and result backends read arguments."""
    shown = as_json([np.arange(3), {"a": np.int64(1)}, pd.DataFrame(), pd.Timestamp(0), np.float64(1.5)])

    assert shown[:2] == ["<numpy.ndarray>", {"a": "<numpy.int64>"}]
    assert json.dumps(shown[3:])


def ours(name, content):
    return ormsgpack.packb(Ext(OURS, ormsgpack.packb([name, content])))


def stream(table, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def forged():
    """Return a stream whose offsets of texts lead out of its buffers."""
    data = stream(pa.table({"s": pa.array(["abcdefgh"] * 4, pa.utf8())}))
    offsets = struct.pack("<5i", 0, 8, 16, 24, 32)
    assert offsets in data
    return data.replace(offsets, struct.pack("<5i", 0, 8, 16, 24, 2**30))


TABLE = pa.table({"a": [0] * 100_000})

HOSTILE = {
    "dtype of objects": ours("ndarray", ["|O", [1], "C", bytes(8)]),
    "dtype of records": ours("ndarray", ["i4,f8", [1], "C", bytes(12)]),
    "shape beyond the buffer": ours("ndarray", ["<f8", [2**40], "C", bytes(8)]),
    "shape below the buffer": ours("ndarray", ["<f8", [1], "C", bytes(16)]),
    "shape of nothing, times much": ours("ndarray", ["<f8", [0, 2**62, 2**62], "C", b""]),
    "negative shape": ours("ndarray", ["<f8", [-1], "C", b""]),
    "many dimensions": ours("ndarray", ["|u1", [1] * 100, "C", b"a"]),
    "shape of text": ours("ndarray", ["<f8", "1", "C", bytes(8)]),
    "no such buffer": ours("ndarray", ["<f8", [1], "C", 0]),
    "buffer before the first": ours("ndarray", ["<f8", [1], "C", -1]),
    "a scalar with a shape": ours("numpy", ["<f8", [1], "C", bytes(8)]),
    "no content": ours("ndarray", None),
    "no library": ours("table", ["os", "Table", None, stream(TABLE)]),
    "no kind": ours("table", ["pandas", "read_pickle", None, stream(TABLE)]),
    "no stream": ours("table", ["pyarrow", "Table", None, b"ARROW1" * 100]),
    "half a stream": ours("table", ["pyarrow", "Table", None, stream(TABLE)[:500]]),
    "compressed stream": ours("table", ["pyarrow", "Table", None, stream(TABLE, compression="zstd")]),
    "offsets out of bounds": ours("table", ["pyarrow", "Table", None, forged()]),
    "wrong details": ours("table", ["pandas", "Series", {"freq": "no", "name": 1}, stream(TABLE)]),
    "buffers without a head": ormsgpack.packb(Ext(buffers.BUFFERED, ormsgpack.packb([]))),
    "buffers in buffers": buffers.joined(buffers.joined(b"\x01", []), []),
    "no buffers": ormsgpack.packb(Ext(buffers.BUFFERED, b"\xc0")),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_corrupt(data):
    """Bytes that stand for no array or table are corrupt, and cost no more than they are."""
    with pytest.raises(PayloadCorruptError, match="msgpack cannot read it"):
        codec.decode("msgpack", data)

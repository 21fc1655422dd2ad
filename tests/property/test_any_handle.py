"""Any handle arrives as it was sent, a forged one is rejected on use, and no key leads out of its store."""

import io
import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json

import pipeline
from pipeline.claimcheck.handles.handle import MARKER, arrived
from pipeline.claimcheck.handles.ranged_file import opened
from pipeline.claimcheck.handles.source import Source
from pipeline.claimcheck.handles.stores import store_of
from pipeline.claimcheck.keys import ttl_days_of
from pipeline.errors import ClaimError, PipelineError
from pipeline.options import Options
from pipeline.stores.memory import MemoryStore

FIELDS = pipeline.Handle.__struct_fields__

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
near = st.dictionaries(st.sampled_from(FIELDS), plain)
segments = st.sampled_from(
    ["..", ".", "", "input", "a", "handles", "7d", "v1", "0a" * 20, "2026", "11", "26"]
)
keys = st.lists(segments, max_size=8).map("/".join) | st.text(max_size=30)


@given(plain | near)
def test_no_content_makes_a_decoder_raise(content):
    """Whatever stands for a handle in a message is decoded, and raises nothing but ClaimError when used."""
    found = json.loads(json.dumps({"__type__": MARKER, "__value__": content}))

    assert isinstance(found, pipeline.Handle)
    for use in (found.load, found.open, found.chunks, found.delete):
        with pytest.raises(ClaimError):
            use()
    assert repr(found)


@given(
    st.builds(dict, key=st.text(min_size=1, max_size=20), size_bytes=st.integers(0, 2**40), name=st.none())
)
def test_any_handle_survives_json(fields):
    """A handle comes back equal from JSON and from a dict."""
    handle = pipeline.Handle(store="default", **fields)

    assert json.loads(json.dumps([handle])) == [handle]
    assert arrived(handle.as_dict()) == handle


INSTALLED = SimpleNamespace(
    options=Options(), store=MemoryStore("claims"), stores={"uploads": MemoryStore("input")}
)
"""What of a claim check decides whether a handle is allowed."""


@given(st.sampled_from(["default", "uploads", "other"]), keys)
def test_no_key_leads_out_of_a_store(alias, key):
    """A key that is allowed is below the prefix of its store, and in the app's own store a handle's."""
    try:
        store = store_of(INSTALLED, pipeline.Handle(store=alias, key=key))
    except PipelineError:
        return

    assert os.path.normpath(key).startswith(f"{store.prefix}/")
    assert alias == "uploads" or ttl_days_of(key, "claims")


class Ranges(Source):
    """A source of bytes in this process, read in small ranges."""

    content = bytes(range(256)) * 5_000

    def __init__(self):
        pass

    size_bytes = len(content)

    def range(self, start, stop):
        return self.content[start:stop]

    def check_plain(self):
        pass


moves = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 700_000)),
    st.tuples(st.just("seek"), st.integers(0, 1_400_000)),
    st.tuples(st.just("back"), st.integers(0, 1_280_000)),
)


@given(st.lists(moves, max_size=12))
def test_a_handle_s_file_reads_like_any_file(moves):
    """Reads and seeks, in any order, give what they give on a file in memory."""
    expected = io.BytesIO(Ranges.content)
    with opened(Ranges()) as file:
        for move, count in moves:
            if move == "read":
                assert file.read(count) == expected.read(count)
            elif move == "seek":
                assert file.seek(count) == expected.seek(count)
            else:
                assert file.seek(-count, io.SEEK_END) == expected.seek(-count, io.SEEK_END)
            assert file.tell() == expected.tell()

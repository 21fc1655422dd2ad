"""Handles: how they travel, what they may name, and what their payload is."""

import io
import pickle
from dataclasses import replace

import pytest
from handles import BIG, OWN, handle_of
from kombu.serialization import dumps, loads
from kombu.utils import json

import pipeline
from pipeline.claimcheck import installed
from pipeline.claimcheck.handles.streams import PART_BYTES
from pipeline.errors import (
    ClaimError,
    PayloadEncodeError,
    PayloadMissingError,
    StoreDeniedError,
)
from pipeline.serializer import serializer
from pipeline.stores.file.store import FileStore
from pipeline.stores.memory import MemoryStore

EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def through_ours(value):
    args, _, _ = serializer.decode(serializer.encode(([value], {}, EMBED)))
    return args[0]


def through_json(value):
    return json.loads(json.dumps(value))


def through_yaml(value):
    content_type, encoding, text = dumps([value], "yaml")
    return loads(text, content_type, encoding, accept={content_type})[0]


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


def through_a_dict(value):
    return pipeline.Handle.from_dict(value.as_dict())


@pytest.mark.parametrize(
    "through", [through_ours, through_json, through_pickle, through_yaml, through_a_dict]
)
@pytest.mark.parametrize("source", [b"bytes", {"rows": [1, 2]}])
def test_a_handle_arrives_as_a_handle(claimcheck, through, source):
    """A handle survives each way of an argument, and still leads to what was stored."""
    made = claimcheck.put(source, name="rows.csv", uses=3)
    found = through(made)

    assert found == made
    assert found.load() == source
    assert (found.name, found.media_type, found.uses) == ("rows.csv", "text/csv", 3)


@pytest.mark.parametrize(
    "content",
    [None, [], "text", {}, {"store": "default"}, {"store": 1, "key": OWN}, {"store": "default", "key": ""}],
)
def test_what_is_no_handle_arrives_and_raises_when_it_is_used(claimcheck, content):
    """A malformed handle does not raise where messages are decoded, but where a task uses it."""
    text = json.dumps({"__type__": "claimcheck-handle", "__value__": content})
    found = json.loads(text)

    for use in (found.load, found.open, found.chunks, found.delete, lambda: found.url(60)):
        with pytest.raises(ClaimError, match="handle rejected"):
            use()
    assert json.loads(json.dumps(found)).as_dict() == content
    with pytest.raises(ClaimError, match="handle rejected"):
        pipeline.Handle.from_dict(content)


@pytest.mark.parametrize(
    "text", ["3", "[1]", "{a: 1}", "{store: 1}", "{[1]: {}}", "{? {a: 1} : 2}", "&a [*a]"]
)
def test_what_is_no_handle_arrives_in_yaml_too(claimcheck, text):
    """A malformed handle in YAML raises where a task uses it, like one in JSON."""
    [found] = loads(
        f"[!claimcheck-handle {text}]", "application/x-yaml", "utf-8", accept={"application/x-yaml"}
    )

    with pytest.raises(ClaimError, match="handle rejected"):
        found.load()


@pytest.mark.parametrize(
    "key",
    [
        "elsewhere/handles/7d/v1/0a/2026/11/26/" + "0a" * 20,
        OWN.replace("handles/7d/", ""),
        OWN.replace("handles/7d", "results"),
        OWN.replace("7d", "8d"),
        OWN.replace("11/26", "99/99"),
        OWN + "/x",
        OWN.replace("0a0a", "../."),
    ],
)
def test_a_handle_names_only_keys_of_handles_in_the_apps_own_store(claimcheck, key):
    """A forged handle reaches no payload of a message or result, and nothing outside of the prefix."""
    forged = handle_of(key=key)

    for use in (forged.load, forged.delete):
        with pytest.raises(ClaimError, match=r"handle rejected \[key="):
            use()


def test_a_handle_names_a_store_by_an_alias_of_this_process(claimcheck):
    """Another alias is rejected, and the error names the known ones."""
    with pytest.raises(ClaimError, match=r"\[store='secrets'\]: this process knows default;"):
        handle_of(store="secrets").load()


def test_a_further_store_is_read_below_its_prefix(others):
    """Any key below the prefix of a further store may be read; size and ETag are asked for."""
    others.put("input/2026/a b.csv", b"rows", {})
    found = handle_of(store="uploads", key="input/2026/a b.csv")

    assert found.load() == b"rows"
    assert b"".join(found.chunks()) == b"rows"


@pytest.mark.parametrize("key", ["other/a", "input", "inputs/a", "input/../other/a", "input/./a"])
def test_a_further_store_is_not_read_outside_of_its_prefix(others, key):
    """No key leads out of the prefix of a further store."""
    with pytest.raises(ClaimError, match=r"handle rejected \[key="):
        handle_of(store="uploads", key=key).load()


def test_what_others_stored_is_deleted_only_if_the_store_is_owned(others, claimcheck):
    """An object of a further store stays, unless the app says that it owns that store."""
    others.put("input/a", b"rows", {})
    found = handle_of(store="uploads", key="input/a")
    with pytest.raises(StoreDeniedError, match="this app does not own that store"):
        found.delete()
    assert found.load() == b"rows"

    installed.install(replace(claimcheck, stores={"uploads": others}, owned=frozenset({"uploads"})))
    found.delete()
    with pytest.raises(PayloadMissingError):
        found.load()


def test_a_handle_needs_an_installed_claim_check():
    """Without ``install``, using a handle says what is missing."""
    with pytest.raises(ClaimError, match=r"call pipeline\.install"):
        handle_of().load()


def test_a_repr_shows_no_name(claimcheck):
    """Monitors and logs show arguments, and a file's name may be confidential."""
    shown = repr(claimcheck.put(b"x", name="Jane Doe.pdf"))

    assert "Jane" not in shown
    assert "application/pdf" in shown


def sources(tmp_path, data):
    path = tmp_path / "big.bin"
    path.write_bytes(data)
    yield "bytes", data
    yield "bytearray", bytearray(data)
    yield "path", path
    with path.open("rb") as file:
        yield "file", file
    yield "memory", io.BytesIO(data)
    yield "chunks", iter([b"", data[:70_000], memoryview(data[70_000:])])


@pytest.mark.parametrize("size_bytes", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, len(BIG)])
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_each_source_is_stored_as_it_is(claimcheck, tmp_path, size_bytes, kind):
    """Bytes, paths, files and iterators become the same object, read whole, in chunks and as a file."""
    store = MemoryStore("claims") if kind == "memory" else FileStore(tmp_path / "store", "claims")
    installed.install(replace(claimcheck, store=store))
    data = BIG[:size_bytes]
    for _, source in sources(tmp_path, data):
        handle = pipeline.put(source)

        assert handle.size_bytes == size_bytes
        assert handle.load() == data
        assert b"".join(handle.chunks()) == data
        with handle.open() as file:
            assert file.read() == data
    assert len({found.key for found in store.list()}) == 6


@pytest.mark.parametrize("value", ["a path is a pathlib.Path: this is a value", [1, {"a": 2.5}], None, 7])
def test_any_other_source_is_a_value(claimcheck, value):
    """What is no bytes, path, file or iterator is encoded as an argument would be, text too."""
    handle = claimcheck.put(value)

    assert handle.load() == value
    for use in (handle.open, handle.chunks, lambda: handle.download("x")):
        with pytest.raises(ClaimError, match=r"use load\(\)"):
            use()


def test_a_path_gives_name_type_and_total(claimcheck, tmp_path):
    """A path's name suggests the media type, and its size is the total of the progress."""
    path, seen = tmp_path / "rows.csv", []
    path.write_bytes(BIG)
    handle = claimcheck.put(path, progress=lambda *counts: seen.append(counts))

    assert (handle.name, handle.media_type) == ("rows.csv", "text/csv")
    assert seen == [(PART_BYTES, len(BIG)), (2 * PART_BYTES, len(BIG)), (len(BIG), len(BIG))]


@pytest.mark.parametrize("ttl_days", [1, 7, 30, 90])
def test_a_ttl_class_is_a_prefix(claimcheck, ttl_days):
    """The key shows the class by whose rule it expires."""
    assert f"claims/handles/{ttl_days}d/v1/" in claimcheck.put(b"x", ttl_days=ttl_days).key


@pytest.mark.parametrize("ttl_days", [0, 2, True, 365, "7"])
def test_other_ttls_are_an_error(claimcheck, store, ttl_days):
    """A TTL without a class is an error, and nothing is stored."""
    with pytest.raises(ValueError, match="expected one of 1, 7, 30, 90"):
        claimcheck.put(b"x", ttl_days=ttl_days)

    assert list(store.list()) == []


@pytest.mark.parametrize("source", [iter(["text"]), io.StringIO("text"), iter([b"x" * 9_000_000, None, 3])])
def test_text_is_no_stream(claimcheck, store, source):
    """A source that yields no bytes is an error that says what to do, and nothing stays in the store."""
    with pytest.raises(PayloadEncodeError, match=r"yields (str|NoneType|int) and not bytes"):
        claimcheck.put(source)

    assert list(store.list()) == []


def test_nothing_stays_of_a_source_that_fails(claimcheck, tmp_path):
    """An error of the source reaches the caller, and what was stored so far is dropped."""
    installed.install(replace(claimcheck, store=FileStore(tmp_path, "claims")))

    def broken():
        yield BIG
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        pipeline.put(broken())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "about",
    [
        {"uses": 0},
        {"uses": "2"},
        {"name": "x" * 1_025},
        {"name": 7},
        {"media_type": 7},
        {"media_type": "a/b\r\nx: y"},
    ],
    ids=str,
)
def test_what_no_process_would_take_is_an_error_of_put(claimcheck, store, about):
    """An argument that a worker would reject is a ValueError of the producer, and nothing is stored."""
    with pytest.raises(ValueError, match=r"handle not stored: Expected|: expected a whole|no header takes"):
        claimcheck.put(b"x", **about)

    assert list(store.list()) == []


@pytest.mark.parametrize("through", [through_ours, through_json])
def test_what_no_process_would_take_is_not_published(claimcheck, through):
    """A handle that was made by hand is checked where it is published."""
    with pytest.raises((ClaimError, PayloadEncodeError), match=r"handle rejected|raised ClaimError"):
        through(handle_of(uses=0))

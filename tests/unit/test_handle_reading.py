"""What a handle opens, streams, downloads or links to."""

import csv
import io
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import stamina
from handles import BIG, handle_of

import pipeline
from pipeline.claimcheck import installed
from pipeline.claimcheck.handles.source import RANGE_BYTES
from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    PayloadTooLargeError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.file.store import FileStore
from pipeline.testing import FaultyStore


@pytest.mark.parametrize("verb", ["part", "complete", "whole", "get_range", "get", "head"])
def test_each_request_is_retried(claimcheck, store, verb):
    """A store that is unavailable for a moment is asked again, for each part and each range."""
    faulty = FaultyStore(store, [StoreUnavailableError("try again")], verbs=[verb])
    installed.install(replace(claimcheck, store=faulty))
    data = b"small" if verb == "whole" else BIG
    with stamina.set_testing(True, attempts=2):
        handle = pipeline.put(data)

        assert handle.load() == data
        other = pipeline.Handle.from_dict({"store": handle.store, "key": handle.key})
        assert b"".join(other.chunks()) == data


def test_what_was_replaced_is_noticed(claimcheck, others):
    """A reader of an object that was replaced gets an error, and never bytes of two objects."""
    others.put("input/a", BIG, {})
    chunks = handle_of(store="uploads", key="input/a").chunks()
    file = handle_of(store="uploads", key="input/a").open()
    next(chunks)
    assert file.read(1) == BIG[:1]
    others.delete(["input/a"])
    others.put("input/a", BIG[::-1], {})

    with pytest.raises(PayloadCorruptError, match="another writer changed it"):
        file.read()
    file.close()
    found = handle_of(store="uploads", key="input/a", size_bytes=3)
    with pytest.raises(PayloadCorruptError, match="the handle says 3"):
        found.load()


def test_a_wrong_digest_is_noticed(claimcheck):
    """Whole reads compare the digest: load, chunks and download."""
    forged = replace_fields(claimcheck.put(b"rows"), digest="blake3:" + "0" * 64)

    for use in (forged.load, lambda: list(forged.chunks())):
        with pytest.raises(PayloadCorruptError, match="its digest differs"):
            use()


def replace_fields(handle, **fields):
    return pipeline.Handle.from_dict({**handle.as_dict(), **fields})


@pytest.mark.parametrize("options", [{"payload_limit_bytes": 100}])
def test_what_is_too_large_is_not_loaded(claimcheck):
    """``load`` obeys the limit of payloads, and a stream does not need to."""
    handle = claimcheck.put(b"x" * 101)

    with pytest.raises(PayloadTooLargeError, match=r"use open\(\)"):
        handle.load()
    assert b"".join(handle.chunks()) == b"x" * 101


def test_csv_and_zip_read_from_a_handle(claimcheck):
    """Readers of the standard library take an open handle for a file."""
    rows = claimcheck.put(b"a,b\n1,2\n")
    with io.TextIOWrapper(rows.open(), newline="") as text:
        assert list(csv.DictReader(text)) == [{"a": "1", "b": "2"}]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.bin", BIG)
        archive.writestr("two.txt", "two")
    with claimcheck.put(packed.getvalue()).open() as file, zipfile.ZipFile(file) as archive:
        assert archive.read("two.txt") == b"two"
        assert archive.read("one.bin") == BIG


def test_a_file_reads_few_ranges(claimcheck, store):
    """A reader that goes on gets larger ranges; one that jumps gets what it asks for."""
    with claimcheck.put(BIG).open() as file:
        before = store.calls["get_range"]
        for at in range(0, 400_000, 1_000):
            assert file.read(1_000) == BIG[at : at + 1_000]
        assert store.calls["get_range"] - before == 2
        file.seek(-10, io.SEEK_END)
        assert file.read() == BIG[-10:]
        assert store.calls["get_range"] - before == 3


def test_a_download_is_complete_and_private(claimcheck, tmp_path):
    """The file has its bytes, mode 0600 and no rest beside it; what was there is replaced."""
    path, seen = tmp_path / "rows.bin", []
    path.write_bytes(b"before")
    found = claimcheck.put(BIG).download(path, lambda *counts: seen.append(counts))

    assert found == path
    assert path.read_bytes() == BIG
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert seen[-1] == (len(BIG), len(BIG))


def test_a_download_continues(claimcheck, store, tmp_path):
    """A download that broke off continues: what is there is not read again."""
    handle = claimcheck.put(BIG)
    errors = [None, StoreDeniedError("not now"), StoreDeniedError("not now"), StoreDeniedError("not now")]
    installed.install(replace(claimcheck, store=FaultyStore(store, errors, verbs=["get_range"])))
    with pytest.raises(StoreDeniedError, match="not now"):
        handle.download(tmp_path / "rows.bin")
    (partial,) = tmp_path.iterdir()
    assert partial.name.endswith(".part")
    there = partial.stat().st_size

    installed.install(claimcheck)
    before = store.calls["get_range"]
    handle.download(tmp_path / "rows.bin")
    assert store.calls["get_range"] - before == -(-(len(BIG) - there) // RANGE_BYTES)
    assert Path(tmp_path / "rows.bin").read_bytes() == BIG


@pytest.mark.parametrize("rest", [b"wrong" * 10, BIG[:-1] + b"x", BIG + b"more"], ids=["few", "all", "more"])
@pytest.mark.parametrize("has_digest", [True, False])
def test_a_damaged_rest_is_read_again(claimcheck, tmp_path, rest, has_digest):
    """What a power failure left in a partial file does not get into the download."""
    handle = claimcheck.put(BIG)
    if not has_digest:
        handle, rest = replace_fields(handle, digest=None), BIG + rest
    partial_of(handle, tmp_path / "rows.bin").write_bytes(rest)

    assert handle.download(tmp_path / "rows.bin").read_bytes() == BIG
    assert [path.name for path in tmp_path.iterdir()] == ["rows.bin"]


def test_a_download_of_wrong_bytes_leaves_nothing(claimcheck, tmp_path):
    """A wrong digest is an error, and neither the file nor a part of it is left."""
    forged = replace_fields(claimcheck.put(b"rows"), digest="blake3:" + "0" * 64)

    with pytest.raises(PayloadCorruptError, match="its digest differs"):
        forged.download(tmp_path / "rows.bin")
    assert list(tmp_path.iterdir()) == []


def partial_of(handle, path):
    from pipeline.claimcheck.handles import downloading, source

    return path.with_name(f".{path.name}.{downloading._tag(source.of(handle))}.part")


@pytest.mark.parametrize("seconds", [0, -1, 604_801, 1.5, True, "60"])
def test_a_url_expires_within_seven_days(claimcheck, seconds):
    """No URL is made that never expires, or later than S3 allows."""
    with pytest.raises(ValueError, match="expected a whole number from 1 to 604800"):
        claimcheck.put(b"x").url(seconds)


def test_stores_without_urls_say_so(claimcheck, tmp_path):
    """Memory and files have no URL that expires."""
    handle = claimcheck.put(b"x")
    with pytest.raises(StoreDeniedError, match="no URL"):
        handle.url(60)

    installed.install(replace(claimcheck, store=FileStore(tmp_path, "claims")))
    with pytest.raises(StoreDeniedError, match="no URL"):
        pipeline.put(b"x").url(60)


def test_a_store_without_ranges_says_so(claimcheck):
    """A store of one's own with the four verbs alone takes no handles."""

    class Plain:
        prefix = "claims"

    installed.install(replace(claimcheck, store=Plain()))
    with pytest.raises(ValueError, match="handles need a store with parts and ranges, and Plain has none"):
        pipeline.put(b"x")


def test_a_deleted_handle_is_missing(claimcheck):
    """Its owner ends a payload; doing so twice is no error."""
    handle = claimcheck.put(b"x")
    handle.delete()
    handle.delete()

    for use in (handle.load, handle.open().read, lambda: list(handle.chunks())):
        with pytest.raises(PayloadMissingError):
            use()


def test_pandas_reads_from_a_handle(claimcheck):
    """Pandas takes an open handle for a file, and so does a chunked reader."""
    pandas = pytest.importorskip("pandas")
    text = "a,b\n" + "1,2\n" * 1_000_000
    with claimcheck.put(text.encode()).open() as file:
        parts = [part["b"].sum() for part in pandas.read_csv(file, chunksize=400_000)]

    assert parts == [800_000, 800_000, 400_000]


def test_pyarrow_reads_a_column_without_the_whole_file(claimcheck, store):
    """PyArrow reads the footer of a Parquet file and the ranges of one column."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    numbers, noise = range(200_000), random.Random(7)
    table = arrow.table({"small": numbers, "large": [noise.randbytes(100) for _ in numbers]})
    packed = io.BytesIO()
    parquet.write_table(table, packed, compression="none")
    handle = claimcheck.put(packed.getvalue())
    with handle.open() as file:
        found = parquet.read_table(file, columns=["small"])
    read_bytes = store.payload_bytes["get_range"]

    assert found.column("small").to_pylist() == list(numbers)
    assert read_bytes < handle.size_bytes / 4

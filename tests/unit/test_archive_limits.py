"""Archives that are too large, damaged, or no archives."""

import gzip
import tarfile
import zipfile

import pytest
from archive_files import FILES, every_format, gzipped, names, reasons, tarred, zipped
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from tasks import archives
from tasks.archives import REJECTIONS_SHOWN, unpack


@every_format
def test_too_many_members(pack, monkeypatch):
    """Members beyond the limit are not looked at, and the first of them says so."""
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 3)
    result = unpack(pack(dict.fromkeys("abcde", b"")))

    assert names(result) == ["a", "b", "c"]
    assert reasons(result) == {"d": "too many members"}


@every_format
def test_as_many_members_as_allowed(pack, monkeypatch):
    """An archive at the limit is complete."""
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 3)

    assert unpack(pack(dict.fromkeys("abc", b"")))["rejected"]["count"] == 0


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_too_large(pack, monkeypatch):
    """A member that does not fit what is left of the limit is rejected; a smaller one still fits."""
    monkeypatch.setattr(archives, "EXPANDED_LIMIT_BYTES", 100)
    result = unpack(pack({"a": b"x" * 60, "b": b"x" * 41, "c": b"x" * 40}))

    assert names(result) == ["a", "c"]
    assert reasons(result) == {"b": "too large"}
    assert result["expanded_bytes"] == 100


def test_a_tar_that_expands_too_far(monkeypatch):
    """A tar.gz is expanded up to the limit, and what is beyond is reported as missing."""
    monkeypatch.setattr(archives, "EXPANDED_LIMIT_BYTES", 100_000)
    result = unpack(gzipped({"a": b"1", "bomb": bytes(10_000_000), "c": b"1"}))

    assert names(result) == ["a"]
    assert reasons(result) == {"bomb": "too large", "": "breaks off"}


def test_a_header_that_expands_too_far(monkeypatch):
    """A bomb in a header of a tar.gz is bounded like one in a member."""
    monkeypatch.setattr(archives, "EXPANDED_LIMIT_BYTES", 100_000)

    with pytest.raises(ValueError, match="not a readable"):
        unpack(gzipped({"n" * 10_000_000: b"1"}))


def test_a_zip_with_a_wrong_size():
    """A member never gives more bytes than its entry declares."""
    archive = zipped({"a": bytes(10_000)})
    short = (10).to_bytes(4, "little")
    result = unpack(archive.replace((10_000).to_bytes(4, "little"), short))

    assert result["members"] == []
    assert reasons(result) == {"a": "corrupt"}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_without_a_bound(method):
    """A zip member is rejected if its compression would be expanded without a bound."""
    assert reasons(unpack(zipped({"a": b"text"}, method))) == {"a": "compression"}


def test_an_encrypted_member():
    """An encrypted member is rejected."""
    archive = bytearray(zipped({"a": b"text"}))
    archive[archive.index(b"PK\x01\x02") + 8] |= 1

    assert reasons(unpack(bytes(archive))) == {"a": "encrypted"}


def test_a_corrupt_member():
    """A damaged member is rejected, and the others are read."""
    archive = zipped({"a": b"first", "b": b"second"}, zipfile.ZIP_STORED)
    result = unpack(archive.replace(b"first", b"worst"))

    assert names(result) == ["b"]
    assert reasons(result) == {"a": "corrupt"}


@pytest.mark.parametrize("size", [-512, -1024, -1_000_000])
def test_a_negative_size(size):
    """A tar entry that leads back to itself ends at the limit, as corrupt."""
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    result = unpack(tarred({"good": b""})[:512] + bytes(header) + bytes(1024))

    assert reasons(result)["a"] == "corrupt"
    assert "good" in names(result)


def test_a_tar_that_breaks_off():
    """What a truncated tar still holds is read, and the break is reported."""
    archive = tarred({"a": b"x" * 2000, "b": b"y" * 2000})
    result = unpack(archive[: 512 + 2048 + 512 + 100])

    assert names(result) == ["a"]
    assert reasons(result) == {"b": "corrupt", "": "breaks off"}


def test_many_rejections():
    """All rejected members are counted, and the first of them named."""
    rejected = unpack(zipped({f"../{number}": b"" for number in range(500)}))["rejected"]

    assert rejected["count"] == 500
    assert len(rejected["first"]) == REJECTIONS_SHOWN


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"PK\x03\x04", b"\x1f\x8b", gzip.compress(b"text"), gzipped(FILES)[:-20]],
    ids=["nothing", "text", "zip's head", "gzip's head", "gzip of text", "cut"],
)
def test_what_is_no_archive(content):
    """What cannot be opened is rejected with an error that does not quote it."""
    with pytest.raises(ValueError, match=r"^not a readable zip, tar or tar\.gz archive$"):
        unpack(content)


@given(
    st.sampled_from([zipped(FILES), tarred(FILES), gzipped(FILES)]),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 2**16),
)
def test_damage(archive, changes, cut):
    """Damage gives a result that can travel, or the one error that says so."""
    damaged = bytearray(archive)
    for place, value in changes:
        damaged[place % len(archive)] = value
    try:
        result = unpack(bytes(damaged[: max(cut, 16)]))
    except ValueError as error:
        result = str(error)

    assert isinstance(result, dict) or result.startswith("not a readable")
    assert loads(dumps(result)) == result

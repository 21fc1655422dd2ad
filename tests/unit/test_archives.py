"""The members of archives."""

import hashlib
import tarfile
import zipfile

import pytest
from archive_files import FILES, every_format, names, reasons, tarred, tarred_entry, zipped
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from tasks.archives import unpack
from tasks.samples import sample_archive

UNSAFE_NAMES = [
    "../evil",
    "a/../../evil",
    "/etc/passwd",
    "..\\evil",
    "a\\..\\..\\evil",
    "\\\\server\\share\\evil",
    "C:\\evil",
    "C:evil",
    "..",
]
SAFE_NAMES = ["a", "a/b", "..a/b..", "a...b", "...", "notes: today", "a b", "./a", "ä/関東"]


@every_format
def test_members(pack):
    """Every file is described by name, size, digest, type and, if it is text, its text."""
    result = unpack(pack(FILES))

    assert result["members"] == [
        {
            "name": name,
            "size_bytes": len(FILES[name]),
            "sha256": hashlib.sha256(FILES[name]).hexdigest(),
            "mime": mime,
            "text": text,
        }
        for name, mime, text in [
            ("letters/a.txt", "text/plain", "från Malmö\n"),
            ("scan.png", "image/png", None),
            ("empty", "text/plain", ""),
        ]
    ]
    assert result["expanded_bytes"] == sum(map(len, FILES.values()))
    assert result["rejected"] == {"count": 0, "first": []}


@every_format
def test_an_empty_archive(pack):
    """An archive without members is a good one."""
    assert unpack(pack({}))["members"] == []


@pytest.mark.parametrize(
    ("name", "content", "mime"),
    [
        ("a.csv", b"a,b", "text/csv"),
        ("a.json", b"{}", "application/json"),
        ("no-suffix", b"text", "text/plain"),
        ("no-suffix", b"\xff\xfe", "application/octet-stream"),
        ("a.unheard-of", b"\0", "application/octet-stream"),
    ],
)
def test_mime(name, content, mime):
    """The type is guessed from the name, and from the content where the name says nothing."""
    assert unpack(zipped({name: content}))["members"][0]["mime"] == mime


@pytest.mark.parametrize("content", [b"\xff", b"a\0b", "naïve".encode("latin-1"), b"\xed\xa0\x80"])
def test_what_is_not_text(content):
    """What is not UTF-8, or has a NUL, is described without its content."""
    assert unpack(zipped({"a.txt": content}))["members"][0]["text"] is None


@every_format
@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_unsafe_names(pack, name):
    """A name that leads out of a directory, on any system, is rejected and reported."""
    result = unpack(pack({"good": b"1", name: b"2"}))

    assert names(result) == ["good"]
    assert reasons(result) == {name: "unsafe name"}


def test_a_member_without_a_name():
    """A zip member whose name is empty is rejected like any other unsafe name."""
    archive = zipped({"abc": b"1"}).replace(b"abc", b"\0bc")

    assert reasons(unpack(archive)) == {"": "unsafe name"}


@every_format
@pytest.mark.parametrize("name", SAFE_NAMES)
def test_safe_names(pack, name):
    """A name that only looks unusual is accepted as it is."""
    assert names(unpack(pack({name: b"1"}))) == [name]


def test_a_name_that_no_encoding_can_write():
    """A name with odd bytes is made printable, so that the result can travel."""
    result = unpack(tarred({"caf\udce9": b"1"}))

    assert names(result) == ["caf?"]
    assert dumps(result, ensure_ascii=False).encode()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_not_a_file_in_a_tar(kind):
    """Links and devices are rejected."""
    archive = tarred_entry("a", kind, linkname="/etc/passwd")

    assert reasons(unpack(archive)) == {"a": "not a file"}


def test_a_link_in_a_zip():
    """A symbolic link is rejected in a zip too, where it looks like a file."""
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16

    assert reasons(unpack(zipped([(info, b"/etc/passwd")]))) == {"a": "not a file"}


@pytest.mark.parametrize(
    "archive", [zipped({"a/": b""}), tarred_entry("a", tarfile.DIRTYPE)], ids=["zip", "tar"]
)
def test_directories(archive):
    """A directory is neither a member nor rejected."""
    result = unpack(archive)

    assert result["members"] == []
    assert result["rejected"]["count"] == 0


def test_two_members_of_one_name():
    """Two members of the same name are two members, each with its own content."""
    twice = [("a", b"1"), ("a", b"2")]

    assert [member["text"] for member in unpack(zipped(twice))["members"]] == ["1", "2"]
    assert [member["text"] for member in unpack(tarred(twice))["members"]] == ["1", "2"]


def test_an_archive_in_an_archive():
    """A tar that holds a zip is read as a tar, and the zip is a member."""
    assert names(unpack(tarred({"inner.zip": zipped(FILES, zipfile.ZIP_STORED)}))) == ["inner.zip"]


@given(st.dictionaries(st.text("abc./\\:é", min_size=1, max_size=8), st.binary(max_size=50)))
def test_every_file_is_accounted_for(files):
    """Every file of an archive is a member or rejected, never dropped."""
    files = {name: content for name, content in files.items() if not name.endswith("/")}
    result = unpack(zipped(files))

    assert len(result["members"]) + result["rejected"]["count"] == len(files)
    assert loads(dumps(result)) == result


def test_a_sample():
    """A sample archive is read whole, and the result survives its trip."""
    result = unpack(loads(dumps(sample_archive(30))))

    assert len(result["members"]) == 30
    assert loads(dumps(result)) == result


def test_name():
    """The task has the name that routes and callers use."""
    assert unpack.name == "archives.unpack"

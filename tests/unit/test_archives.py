"""Archives."""

import gzip
import hashlib
import io
import tarfile
import warnings
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from tasks import archives
from tasks.archives import REJECTIONS_SHOWN, unpack
from tasks.samples import sample_archive

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
FILES = {"letters/a.txt": "från Malmö\n".encode(), "scan.png": PNG, "empty": b""}
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


def zipped(files, method=zipfile.ZIP_DEFLATED):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # two files may have one name
        for name, content in files.items() if isinstance(files, dict) else files:
            opened.writestr(name, content)
    return archive.getvalue()


def tarred(files, mode="w"):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode) as opened:
        for name, content in files.items() if isinstance(files, dict) else files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def gzipped(files):
    return tarred(files, "w:gz")


def tarred_entry(name, kind, **attributes):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as opened:
        info = tarfile.TarInfo(name)
        info.type = kind
        for attribute, value in attributes.items():
            setattr(info, attribute, value)
        opened.addfile(info)
    return archive.getvalue()


def names(result):
    return [member["name"] for member in result["members"]]


def reasons(result):
    return {rejection["name"]: rejection["reason"] for rejection in result["rejected"]["first"]}


every_format = pytest.mark.parametrize("pack", [zipped, tarred, gzipped])


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
    """A tar.gz is expanded up to the limit, and what lies beyond is reported as missing."""
    monkeypatch.setattr(archives, "EXPANDED_LIMIT_BYTES", 100_000)
    result = unpack(gzipped({"a": b"1", "bomb": bytes(10_000_000), "c": b"1"}))

    assert names(result) == ["a"]
    assert reasons(result) == {"bomb": "too large", "": "breaks off"}


def test_a_header_that_expands_too_far(monkeypatch):
    """A bomb in a header of a tar.gz is bounded like one in a member."""
    monkeypatch.setattr(archives, "EXPANDED_LIMIT_BYTES", 100_000)

    with pytest.raises(ValueError, match="not a readable"):
        unpack(gzipped({"n" * 10_000_000: b"1"}))


def test_a_zip_that_lies_about_a_size():
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


def test_two_members_of_one_name():
    """Two members of the same name are two members, each with its own content."""
    twice = [("a", b"1"), ("a", b"2")]

    assert [member["text"] for member in unpack(zipped(twice))["members"]] == ["1", "2"]
    assert [member["text"] for member in unpack(tarred(twice))["members"]] == ["1", "2"]


def test_an_archive_in_an_archive():
    """A tar that holds a zip is read as a tar, and the zip is a member."""
    assert names(unpack(tarred({"inner.zip": zipped(FILES, zipfile.ZIP_STORED)}))) == ["inner.zip"]


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

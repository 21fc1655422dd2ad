"""Archives: a zip or tar file's bytes in, an inventory with the text of its members out.

Archives are untrusted. Nothing is written to disk, expansion stops at limits, and members with unsafe names
(absolute, or with ``..``) are rejected.
"""

import gzip
import hashlib
import io
import mimetypes
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import PureWindowsPath
from typing import Any

from celery import shared_task

MEMBER_LIMIT = 10_000
"""Maximum number of members that are read."""
EXPANDED_LIMIT_BYTES = 256 * 1024 * 1024
"""Maximum of bytes of all members together."""
REJECTIONS_SHOWN = 100
"""Rejected members that a result names; all of them are counted."""

# An instance has the standard library's own table: the module's functions add the host's.
_MIME = mimetypes.MimeTypes()
_UNREADABLE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


@shared_task(name="archives.unpack")
def unpack(archive: bytes) -> dict[str, Any]:
    """Expand an archive in memory and describe each of its files.

    Text is what reads as UTF-8 and has no NUL. Directories are passed over.

    Args:
        archive: a zip (stored or deflated), tar or tar.gz file.

    Returns:
        ::

            {"members": [{"name": str, "size_bytes": int, "sha256": str, "mime": str,
                          "text": str | None}],
             "expanded_bytes": int,
             "rejected": {"count": int, "first": [{"name": str, "reason": str}]}}

        A ``reason`` is ``unsafe name``, ``not a file``, ``encrypted``, ``compression``,
        ``too large`` (for what was left of ``EXPANDED_LIMIT_BYTES``) or ``corrupt``; or, for this
        member and all that follow, ``too many members`` or, without a name, ``breaks off``.

    Raises:
        ValueError: the bytes are no such archive.
    """
    members: list[dict[str, Any]] = []
    rejected: list[dict[str, str]] = []
    expanded_bytes = 0
    for member in _members(archive):
        try:
            content = member.expand(EXPANDED_LIMIT_BYTES - expanded_bytes)
        except _RejectedError as reason:
            rejected.append({"name": member.name, "reason": str(reason)})
        else:
            expanded_bytes += len(content)
            members.append(_describe(member.name, content))
    return {
        "members": members,
        "expanded_bytes": expanded_bytes,
        "rejected": {"count": len(rejected), "first": rejected[:REJECTIONS_SHOWN]},
    }


class _RejectedError(Exception):
    """A member that is not expanded; the message is the reason."""


@dataclass(frozen=True, slots=True)
class _Member:
    """One file of an archive, as its entry declares it; ``read`` never gives more than that."""

    name: str
    size_bytes: int
    fault: str | None
    read: Callable[[], bytes]

    def expand(self, room_bytes: int) -> bytes:
        """Return the content.

        Raises:
            _RejectedError: it is unsafe, unreadable or larger than ``room_bytes``.
        """
        if self.fault:
            raise _RejectedError(self.fault)
        if self.size_bytes > room_bytes:
            raise _RejectedError("too large")
        try:
            return self.read()
        except _UNREADABLE as exc:
            raise _RejectedError("corrupt") from exc


def _members(archive: bytes) -> Iterator[_Member]:
    """Yield the members up to the limit, and the first one beyond it as a fault."""
    try:
        opened = _open(archive)
    except _UNREADABLE as exc:
        raise ValueError("not a readable zip, tar or tar.gz archive") from exc
    yield from islice(opened, MEMBER_LIMIT)
    for member in islice(opened, 1):
        yield replace(member, fault="too many members")


def _open(archive: bytes) -> Iterator[_Member]:
    # By its first bytes: zipfile.is_zipfile() also says yes to a tar that holds a zip.
    if archive.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(zipfile.ZipFile(io.BytesIO(archive)))
    if archive.startswith(b"\x1f\x8b"):
        # Here and not in tarfile, which would expand a header of any size.
        archive = gzip.GzipFile(fileobj=io.BytesIO(archive)).read(EXPANDED_LIMIT_BYTES)
    return _tar_members(tarfile.open(fileobj=io.BytesIO(archive), mode="r:"))


def _zip_members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        if not info.filename.endswith("/"):  # is_dir() fails on an empty name
            name, fault = _printable(info.filename), _name_fault(info.filename) or _zip_fault(info)
            yield _Member(name, info.file_size, fault, partial(opened.read, info))


def _tar_members(opened: tarfile.TarFile) -> Iterator[_Member]:
    try:
        for info in opened:
            if not info.isdir():
                name, fault = _printable(info.name), _name_fault(info.name) or _tar_fault(info)
                yield _Member(name, info.size, fault, partial(_read_tar, opened, info))
    except _UNREADABLE:
        yield _Member("", 0, "breaks off", bytes)


def _read_tar(opened: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    member = opened.extractfile(info)
    return member.read() if member else b""


def _name_fault(name: str) -> str | None:
    # The rules of Windows are the stricter ones: both slashes, drives, and all that POSIX has.
    path = PureWindowsPath(name)
    unsafe = not path.parts or path.anchor or ".." in path.parts
    return "unsafe name" if unsafe else None


def _zip_fault(info: zipfile.ZipInfo) -> str | None:
    if stat.S_ISLNK(info.external_attr >> 16):
        return "not a file"
    if info.flag_bits & 1:
        return "encrypted"
    # zipfile expands the others without a bound.
    known = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return None if known else "compression"


def _tar_fault(info: tarfile.TarInfo) -> str | None:
    if not info.isreg():
        return "not a file"
    return "corrupt" if info.size < 0 else None


def _describe(name: str, content: bytes) -> dict[str, Any]:
    text = _text(content)
    unknown = "application/octet-stream" if text is None else "text/plain"
    return {
        "name": name,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "mime": _MIME.guess_type(name)[0] or unknown,
        "text": text,
    }


def _text(content: bytes) -> str | None:
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _printable(name: str) -> str:
    """Return a name that every encoding can write: tarfile hides odd bytes in surrogates."""
    return name.encode(errors="replace").decode()

"""The handle: a small argument that stands for a payload, and opens, streams or links to it."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from io import BufferedReader
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec

from pipeline.claimcheck.claim import Name, Size
from pipeline.claimcheck.handles import downloading, ranged_file, source
from pipeline.errors import ClaimError, FramesDropped, printable

MARKER = "claimcheck-handle"
"""Name of the type in JSON, and in this library's own serializer."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class Handle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A claim that a person holds: pass it to tasks, return it from them, keep it where JSON is kept.

    It arrives as a handle in this library's serializer, in Kombu's JSON and YAML, and in pickle; elsewhere
    ``as_dict`` and ``from_dict`` carry it. Its methods read from the store that this process knows by
    the same alias, so ``pipeline.install`` must have been called here. They run in any process, and raise:

    Raises:
        ClaimError: the handle is malformed, or names a store or key that this process does not allow.
        PayloadMissingError: the payload was deleted, or has expired.
        PayloadCorruptError: it has another size, digest or ETag.
        StoreUnavailableError: the store stayed unavailable for ``store_retry_seconds``.
        StoreDeniedError: the store denies access.
    """

    store: Name
    """Alias of the store: the app's own, or one of ``stores`` of ``pipeline.install``."""
    key: Text
    """Full key of the object, prefix included."""
    size_bytes: Size | None = None
    """Size of the stored object; None if whoever made the handle did not know it."""
    digest: Annotated[str, msgspec.Meta(pattern=r"^blake3:[0-9a-f]{64}\Z")] | None = None
    """Digest of the stored object; None for an object that others stored."""
    media_type: Text = "application/octet-stream"
    name: Text | None = None
    """Name of the file that it was; may be confidential, so no log and no ``repr`` shows it."""
    codec: Name | None = None
    """How a value is encoded; None for plain bytes."""
    compression: Name = "none"
    expanded_bytes: Size | None = None
    """Size of an encoded value after decompression."""
    etag: Text | None = None
    """Identifies the content of the key."""
    version: Text | None = None
    """Version of the object in a bucket with versioning."""
    uses: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many tasks use it; the last one's end deletes the payload."""
    created: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """When it was stored; aware, UTC."""

    def __repr__(self) -> str:
        """Say which payload it is: monitors show arguments."""
        return f"<handle of {printable(self.key)}: {self.size_bytes} bytes, {self.media_type}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the handle as plain values, which any format has.

        Raises:
            ClaimError: a field is of a wrong type or out of range; no process would take the handle.
        """
        plain: dict[str, Any] = msgspec.to_builtins(self)
        Handle.from_dict(plain)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the handle that ``as_dict`` has made plain. Does no I/O; ignores unknown fields.

        Raises:
            ClaimError: a field is missing, or of a wrong type.
        """
        try:
            return msgspec.convert(plain, cls)
        except (msgspec.ValidationError, TypeError, ValueError) as exc:
            raise ClaimError(f"handle rejected: {exc}; pass what Handle.as_dict() returned") from None

    def load(self) -> Any:
        """Return the value, or the bytes of what was stored as bytes. Memory: all of it.

        Raises:
            PayloadTooLargeError: it is above ``payload_limit_bytes``; use ``open`` or ``chunks``.
        """
        with FramesDropped():
            return source.of(self).load()

    def open(self) -> BufferedReader:
        """Return a file, to read and to seek in; ``zipfile``, ``csv``, pandas and PyArrow read from it.

        It reads ranges of the object, and ahead of a reader that goes on from where it was. Memory: 40 MiB
        at most. The digest is of the whole, so only the ETag is checked.
        """
        with FramesDropped():
            return ranged_file.opened(source.of(self))

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in order, 4 MiB at a time, and check the digest at the end. Memory: 40 MiB."""
        with FramesDropped():
            return source.of(self).chunks()

    def download(self, path: str | PathLike[str], progress: Callable[[int, int], None] | None = None) -> Path:
        """Write the bytes to a file that only this user can read, and return its path.

        The file is at ``path`` when it is complete and its digest is right. Until then it is beside it, under
        a name that ends with ``.part``: the next call continues it. Memory: 40 MiB.

        Args:
            path: where to; what is there is replaced.
            progress: called with the bytes so far and all bytes, after each 4 MiB.

        Raises:
            OSError: the file cannot be written.
        """
        with FramesDropped():
            return downloading.download(source.of(self), Path(path), progress)

    def url(self, expires_seconds: int) -> str:
        """Return a URL by which anybody can read the object until it expires. Makes no request.

        It ends with the credentials that signed it, at the latest: those of a role last hours.

        Args:
            expires_seconds: 1 to 604,800: seven days.

        Raises:
            ValueError: it is out of range.
            StoreDeniedError: the store has no URLs.
        """
        with FramesDropped():
            return source.url(self, expires_seconds)

    def delete(self) -> None:
        """Delete the payload. Safe to call twice.

        Raises:
            StoreDeniedError: the object belongs to others: the store is a further one, and not owned.
        """
        with FramesDropped():
            source.delete(self)


class MalformedHandle(Handle, frozen=True, kw_only=True):
    """What arrived instead of a handle. Whoever uses it gets a ``ClaimError``."""

    content: Any
    why: str

    def __repr__(self) -> str:
        """Show nothing of the content."""
        return "<malformed handle>"

    def as_dict(self) -> Any:
        """Return what arrived."""
        return self.content


def arrived(content: Any) -> Handle:
    """Return the handle in a decoded message. Does no I/O and never raises."""
    try:
        return Handle.from_dict(content)
    except ClaimError as exc:
        return MalformedHandle(store="", key="", content=content, why=str(exc))

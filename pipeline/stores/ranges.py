"""The ``RangeStore`` protocol: objects that are written in parts and read in ranges, in bounded memory.

Handles need it (``pipeline/claimcheck/handles/``). The library's stores have it; others need not.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable


class Head(NamedTuple):
    """What a store says of an object without its content."""

    size_bytes: int
    etag: str
    """Identifies this content of the key, without quotation marks."""
    version: str | None
    """Version of the object in a bucket with versioning."""
    modified: datetime
    """When the store last wrote it; aware, UTC."""
    media_type: str | None = None


class Upload(Protocol):
    """An object on its way into a store: nobody sees it before it is complete.

    All methods raise ``StoreUnavailableError`` for transient errors and ``StoreDeniedError`` for permanent
    ones, and may be called again.
    """

    def part(self, number: int, start: int, data: bytes) -> None:
        """Store a part. Parts may be stored in any order, and in several threads.

        Args:
            number: 1 for the first part, 2 for the next.
            start: position of its first byte in the object.
            data: its bytes; S3 takes 5 MiB or more of each part but the last.
        """

    def complete(self) -> str:
        """Make the object of all parts, unless another object has the key; return its ETag."""

    def whole(self, data: bytes) -> str:
        """Store an object that has one part, instead of ``part`` and ``complete``; return its ETag."""

    def abort(self) -> None:
        """Drop the parts. Never fails; safe to call at any time before ``complete`` returned."""


@runtime_checkable
class RangeStore(Protocol):
    """A store with parts and ranges, beside the verbs of ``Store``.

    All methods raise ``StoreUnavailableError`` for transient errors and ``StoreDeniedError`` for permanent
    ones.
    """

    def head(self, key: str, version: str | None = None) -> Head:
        """Return what is known of an object, without its content.

        Raises:
            PayloadMissingError: there is no such object.
        """

    def get_range(
        self, key: str, start: int, stop: int, *, etag: str | None = None, version: str | None = None
    ) -> bytes:
        """Return the bytes of an object from ``start`` up to ``stop``, not included; at least one.

        Raises:
            PayloadMissingError: there is no such object.
            PayloadCorruptError: it has another ETag, or ends before ``stop``.
        """

    def upload(self, key: str, metadata: Mapping[str, str], media_type: str | None = None) -> Upload:
        """Return an upload to a new key. Does no I/O."""

    def url(
        self,
        key: str,
        expires_seconds: int,
        *,
        method: str = "GET",
        version: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
    ) -> str:
        """Return a URL by which anybody may send one kind of request for one key, until it expires.

        Args:
            key: full key, prefix included.
            expires_seconds: how long it can be used.
            method: ``GET`` or ``PUT``.
            version: version of the object.
            parameters: further parameters of S3's GetObject or PutObject, such as
                ``{"ResponseContentType": "text/csv"}``.

        Raises:
            StoreDeniedError: the store has no URLs.
        """


def ranges_of(store: object) -> RangeStore:
    """Return a store that has parts and ranges.

    Raises:
        ValueError: it has none.
    """
    if not isinstance(store, RangeStore):
        raise ValueError(  # noqa: TRY004 - wrong configuration is a ValueError
            f"handles need a store with parts and ranges, and {type(store).__name__} has none; use an s3://, "
            "file:// or memory:// store, or add the methods of pipeline.stores.RangeStore to yours"
        )
    return store

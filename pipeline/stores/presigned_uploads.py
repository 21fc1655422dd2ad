"""The ``PresignedUploads`` protocol: URLs by which clients without credentials put objects into a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Presigned:
    """One request that a client may make until the URL expires. It must send just these headers."""

    method: str
    url: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        """Show the method alone: the URL lets anybody make the request."""
        return f"Presigned({self.method!r})"


class Announced(NamedTuple):
    """What a client is about to send; the store accepts nothing else."""

    size_bytes: int
    sha256: str
    """In base64."""
    media_type: str = ""
    """Of a whole object."""


class Part(NamedTuple):
    """One part of an object, as the store has it."""

    number: int
    """From 1."""
    size_bytes: int
    etag: str
    sha256: str | None
    """Checksum of the part, in base64, if the store has it."""


class PresignedUploads(Protocol):
    """Uploads of one store. Safe to use from several threads.

    All methods raise ``StoreUnavailableError`` for transient errors and ``StoreDeniedError`` for permanent
    ones. Nothing that exists is overwritten. Checksums are SHA-256, in base64.
    """

    def put(self, key: str, announced: Announced, expires_seconds: int) -> Presigned:
        """Return a request that creates an object of just this size, type and checksum. Does no I/O."""

    def begin(self, key: str, media_type: str) -> str:
        """Begin an object that comes in parts, and return the id of the upload."""

    def put_part(
        self, key: str, upload: str, number: int, announced: Announced, expires_seconds: int
    ) -> Presigned:
        """Return a request that stores one part of just this size and checksum. Does no I/O."""

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the parts that the store has, in order.

        Raises:
            PayloadMissingError: there is no such upload: it was completed, aborted or never begun.
        """

    def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts.

        Raises:
            PayloadMissingError: there is no such upload.
        """

    def abort(self, key: str, upload: str) -> None:
        """Delete the parts of an upload. Safe to call twice."""


@runtime_checkable
class PresigningStore(Protocol):
    """A store that clients can upload to. S3 is one; others need not be."""

    def presigned_uploads(self) -> PresignedUploads:
        """Return what signs uploads to the store. Does no I/O."""

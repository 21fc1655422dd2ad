"""Uploads: the client announces a file, gets presigned URLs, and puts it into the bucket itself.

A file of one part needs one URL. A larger one comes in parts: begin, one URL for each part, complete. The
gateway keeps no state between requests; S3 has it. Type, size and SHA-256 are signed into each URL, so that
S3 rejects whatever differs from what was announced.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Annotated, cast

import msgspec
from msgspec.structs import replace

from pipeline.claimcheck.keys import below
from pipeline.gateway.errors import NotAllowedError
from pipeline.stores.presigned_uploads import Announced, Presigned, PresignedUploads

MIB_BYTES = 1024**2
PART_LEAST_BYTES = 5 * MIB_BYTES
PARTS_LIMIT_COUNT = 10_000
"""Smallest part but for the last one, and most parts of one upload. Source: Amazon S3 User Guide, "Amazon S3
multipart upload limits"."""

_UNSAFE = re.compile(r"[^\w.()-]+", re.ASCII)
_KEY = re.compile(r"[0-9a-f]{2}/\d{4}/\d{2}/\d{2}/[0-9a-f]{40}/[\w()-][\w.()-]{0,99}\Z", re.ASCII)
NAME_LIMIT_CHARACTERS = 100

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Checksum = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9+/]{43}=$(?!\n)", description="SHA-256, in base64")
]
MediaType = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.+-]{1,100}/[A-Za-z0-9_.+-]{1,100}$(?!\n)")]
"""Patterns are OpenAPI's as well, where ``$`` is the end; Python's is also in front of a last line break."""
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Number = Annotated[int, msgspec.Meta(ge=1, le=PARTS_LIMIT_COUNT)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be uploaded.

    Raises:
        ValueError: a limit is out of range.
    """

    size_bytes: int = 5 * 1024 * MIB_BYTES
    """Largest file."""
    media_types: Sequence[str] = ("*",)
    """Accepted media types, such as ``text/csv`` or ``image/*``."""
    expires_seconds: int = 900
    """How long a URL lives: 1 second to 7 days, which S3 allows."""
    part_bytes: int = 16 * MIB_BYTES
    """Size of a part; a file that is not larger is one part. S3 allows 5 MiB to 5 GiB."""

    def __post_init__(self) -> None:
        if not PART_LEAST_BYTES <= self.part_bytes <= 5 * 1024 * MIB_BYTES:
            raise ValueError(f"part_bytes={self.part_bytes}: expected 5 MiB to 5 GiB")
        if not 1 <= self.size_bytes <= self.part_bytes * PARTS_LIMIT_COUNT:
            raise ValueError(f"size_bytes={self.size_bytes}: expected 1 to 10,000 parts of part_bytes")
        if not 1 <= self.expires_seconds <= 7 * 24 * 3600:
            raise ValueError(f"expires_seconds={self.expires_seconds}: expected 1 to 604800")
        if isinstance(self.media_types, str):
            raise ValueError("media_types is one text: expected a list such as ['text/csv']")  # noqa: TRY004

    def parts_count(self, size_bytes: int) -> int:
        """Return how many parts a file of this size has."""
        return -(-size_bytes // self.part_bytes)


class NewUpload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that a client is about to upload."""

    name: Text
    media_type: MediaType
    size_bytes: Annotated[int, msgspec.Meta(ge=1)]
    sha256: Checksum | None = None
    """Required for a file of one part."""


class S3Request(msgspec.Struct, frozen=True):
    """A request to S3 that the client makes, with just these headers."""

    method: str
    url: str
    headers: dict[str, str]


class Upload(msgspec.Struct, frozen=True, omit_defaults=True):
    """An upload that has begun: one request, or the id and the size of the parts."""

    key: str
    task_id: str
    """Id of the task that will run once the file is there."""
    expires_at: datetime
    request: S3Request | None = None
    upload_id: str | None = None
    part_bytes: int | None = None
    parts_count: int | None = None


class NewPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part that a client is about to upload."""

    key: Key
    number: Number
    size_bytes: Annotated[int, msgspec.Meta(ge=1)]
    sha256: Checksum


class Completion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An upload all of whose parts were put."""

    key: Key
    size_bytes: Annotated[int, msgspec.Meta(ge=1)]
    """Size of the file: the parts that S3 has must add up to it."""


class Uploaded(msgspec.Struct, frozen=True):
    """A file that is there."""

    key: str
    task_id: str


def new_key(prefix: str, name: str) -> str:
    """Return a new, unguessable key: ``<prefix>/<2 hex digits>/YYYY/MM/DD/<40 hex digits>/<name>``.

    Of the name stay letters, digits and ``._-()``, and its last 100 characters, without dots in front.
    """
    day = datetime.now(UTC).strftime("%Y/%m/%d")
    safe = _UNSAFE.sub("_", name)[-NAME_LIMIT_CHARACTERS:].lstrip(".") or "_"
    return below(prefix, f"{secrets.token_hex(1)}/{day}/{secrets.token_hex(20)}/{safe}")


def is_upload(key: str, prefix: str) -> bool:
    """Say whether ``new_key`` makes such a key for ``prefix``."""
    head = below(prefix, "")
    return key.startswith(head) and bool(_KEY.match(key[len(head) :]))


def _request(presigned: Presigned) -> S3Request:
    return S3Request(presigned.method, presigned.url, dict(presigned.headers))


@dataclass(frozen=True, slots=True)
class UploadDesk:
    """Gives out upload URLs for one store. Safe to share between threads.

    Args:
        uploads: the store's.
        prefix: its prefix.
        limits: what may be uploaded.
        task_id_of: returns the id of the task that will get an object, by key.
    """

    uploads: PresignedUploads
    prefix: str
    limits: Limits
    task_id_of: Callable[[str], str]

    def begin(self, new: NewUpload) -> Upload:
        """Begin an upload: one request for a small file, the id of an upload in parts for a larger one.

        Raises:
            NotAllowedError: size, type or checksum are not as the limits want them.
        """
        self._check(new)
        key = new_key(self.prefix, new.name)
        begun = Upload(key, self.task_id_of(key), self._expiry())
        if new.size_bytes <= self.limits.part_bytes:
            announced = Announced(new.size_bytes, cast("str", new.sha256), new.media_type)
            presigned = self.uploads.put(key, announced, self.limits.expires_seconds)
            return replace(begun, request=_request(presigned))
        return replace(
            begun,
            upload_id=self.uploads.begin(key, new.media_type),
            part_bytes=self.limits.part_bytes,
            parts_count=self.limits.parts_count(new.size_bytes),
        )

    def put_part(self, upload_id: str, part: NewPart) -> S3Request:
        """Return the request that puts one part.

        Raises:
            NotAllowedError: the key is none of ours, or the part is too large.
        """
        self._check_key(part.key)
        if part.size_bytes > self.limits.part_bytes:
            raise NotAllowedError(f"part of {part.size_bytes} bytes: the limit is {self.limits.part_bytes}")
        if part.number > (most := self.limits.parts_count(self.limits.size_bytes)):
            raise NotAllowedError(f"part {part.number}: the largest file has {most}")
        announced = Announced(part.size_bytes, part.sha256)
        seconds = self.limits.expires_seconds
        return _request(self.uploads.put_part(part.key, upload_id, part.number, announced, seconds))

    def complete(self, upload_id: str, completion: Completion) -> Uploaded:
        """Make the file of its parts.

        Raises:
            NotAllowedError: the parts do not add up to the announced size; if they are more than the limits
                allow, the upload is aborted.
            PayloadMissingError: there is no such upload.
        """
        key = completion.key
        self._check_key(key)
        self._check_size(completion.size_bytes)
        found = self.uploads.parts(key, upload_id)
        size_bytes = sum(part.size_bytes for part in found)
        if size_bytes > self.limits.size_bytes:
            self.uploads.abort(key, upload_id)
        if size_bytes != completion.size_bytes:
            raise NotAllowedError(f"parts of {size_bytes} bytes in all: expected {completion.size_bytes}")
        if any(part.size_bytes < PART_LEAST_BYTES for part in found[:-1]):
            raise NotAllowedError(f"a part of less than {PART_LEAST_BYTES} bytes: only the last one may be")
        self.uploads.complete(key, upload_id, found)
        return Uploaded(key, self.task_id_of(key))

    def abort(self, upload_id: str, key: str) -> None:
        """Delete the parts of an upload. Safe to call twice.

        Raises:
            NotAllowedError: the key is none of ours.
        """
        self._check_key(key)
        self.uploads.abort(key, upload_id)

    def _check(self, new: NewUpload) -> None:
        self._check_size(new.size_bytes)
        kind = new.media_type.lower()
        if not any(fnmatchcase(kind, accepted.lower()) for accepted in self.limits.media_types):
            accepted = ", ".join(self.limits.media_types)
            raise NotAllowedError(f"media type {new.media_type}: accepted are {accepted}")
        if new.size_bytes <= self.limits.part_bytes and new.sha256 is None:
            raise NotAllowedError(f"sha256 is missing: a file up to {self.limits.part_bytes} bytes needs it")

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.limits.size_bytes:
            raise NotAllowedError(f"file of {size_bytes} bytes: the limit is {self.limits.size_bytes}")

    def _check_key(self, key: str) -> None:
        if not is_upload(key, self.prefix):
            raise NotAllowedError("key: not one that this gateway has given out")

    def _expiry(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.limits.expires_seconds)

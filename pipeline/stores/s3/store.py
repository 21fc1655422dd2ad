"""Payloads in S3: one request for a small one, parallel parts for a large one; never overwrites.

Endpoint, credentials and region come from boto3's own chain: ``AWS_ENDPOINT_URL``, profiles, roles.
"""

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from time import monotonic
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from pipeline.aws.limits import S3_DELETE_COUNT
from pipeline.errors import StoreDeniedError, StoreError, StoreUnavailableError
from pipeline.stores.aws.client import ClientPerProcess
from pipeline.stores.protocol import StoredObject, deadline
from pipeline.stores.ranges import Head
from pipeline.stores.s3.error_table import TABLE
from pipeline.stores.s3.obstore_transfer import ObstoreTransfer, check_installed
from pipeline.stores.s3.presigned_uploads import S3PresignedUploads
from pipeline.stores.s3.reading import PART_BYTES, Place, filled, in_parallel, read_object, read_range
from pipeline.stores.s3.records import S3Records
from pipeline.stores.s3.uploads import Part, S3Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TIMEOUT_SECONDS = 10.0
"""Timeout of a silent connection. S3 answers within tens of milliseconds, and botocore's three
attempts of ten seconds fit the 30 that a task waits for its store (``Options.store_retry_seconds``)."""

SHORT_TIMEOUT_SECONDS = 3.0
"""The same, with one attempt, for a record whose deadline is this close."""

PAYLOAD_CLIENTS = (None, "boto3", "obstore")
"""What may carry payloads."""

ENCRYPTIONS = (None, "AES256", "aws:kms", "aws:kms:dsse")
"""S3's values of server-side encryption. Source: S3 API Reference, PutObject."""

SINGLE_PUT_LIMIT_BYTES = 16 * 1024**2
"""A larger payload is sent in parts. Below that, the two extra requests cost more time than parts save."""


@dataclass(frozen=True, slots=True)
class S3Store:
    """A store in one bucket. Safe to share between threads, to use after a fork, and to pickle.

    Args:
        bucket: name of the bucket, which must exist.
        prefix: first part of all keys; slashes at its ends are dropped.
        server_side_encryption: ``AES256``, ``aws:kms`` or ``aws:kms:dsse``; None means the bucket's.
        kms_key_id: key for ``aws:kms``; None means the account's default one.
        timeout_seconds: timeout of a silent connection.
        region: None means boto3's.
        payload_client: which carries payloads: ``boto3`` or ``obstore``; None means obstore where it can.

    Raises:
        ValueError: an argument is wrong, or contradicts another.
    """

    bucket: str
    prefix: str = ""
    server_side_encryption: str | None = field(default=None, kw_only=True)
    kms_key_id: str | None = field(default=None, kw_only=True)
    timeout_seconds: float = field(default=TIMEOUT_SECONDS, kw_only=True)
    region: str | None = field(default=None, kw_only=True)
    payload_client: str | None = field(default=None, kw_only=True)
    _clients: ClientPerProcess = field(init=False, repr=False, compare=False)
    _short_timeout_clients: ClientPerProcess = field(init=False, repr=False, compare=False)
    _transfer: ObstoreTransfer | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ValueError("bucket is empty: name the bucket that holds the payloads")
        if self.timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds={self.timeout_seconds}: expected more than 0")
        if self.server_side_encryption not in ENCRYPTIONS:
            expected = ", ".join(map(repr, ENCRYPTIONS))
            raise ValueError(f"server_side_encryption={self.server_side_encryption!r}: expected {expected}")
        if self.kms_key_id and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise ValueError("kms_key_id has no effect: set server_side_encryption='aws:kms' as well")
        if self.payload_client not in PAYLOAD_CLIENTS:
            expected = ", ".join(map(repr, PAYLOAD_CLIENTS))
            raise ValueError(f"payload_client={self.payload_client!r}: expected {expected}")
        object.__setattr__(self, "prefix", self.prefix.strip("/"))
        object.__setattr__(self, "_clients", ClientPerProcess("s3", self.region, self.timeout_seconds))
        short = ClientPerProcess("s3", self.region, min(SHORT_TIMEOUT_SECONDS, self.timeout_seconds), 1)
        object.__setattr__(self, "_short_timeout_clients", short)
        object.__setattr__(self, "_transfer", self._obstore_transfer())

    def _obstore_transfer(self) -> ObstoreTransfer | None:
        if self.payload_client == "boto3":
            return None
        if self.payload_client == "obstore":
            check_installed()
        return ObstoreTransfer(self.bucket, self._clients.get, self._encryption(), self.timeout_seconds)

    def payloads_go_through(self) -> str:
        """Return which client carries large payloads in this process, and why: for people."""
        if self._transfer is None:
            return "boto3, as payload_client chooses"
        obstacle = self._transfer.obstacle()
        return f"boto3: {obstacle}" if obstacle else "obstore"

    def prepare(self) -> None:
        """Make the clients that carry payloads. Never raises: the first transfer does."""
        with suppress(StoreError, ValueError), self._translated("clients"):
            self._clients.get()
            if self._transfer is not None:
                self._transfer.store()

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Store a payload under a new key. Safe to call twice with the same payload.

        Args:
            key: full key, prefix included.
            payload: its bytes.
            metadata: user metadata; ``digest``, if absent, becomes the payload's BLAKE3.

        Raises:
            StoreDeniedError: S3 denied the request, or another object has the key.
            StoreUnavailableError: S3 did not answer, or answered that it cannot serve now.
        """
        digest = metadata.get("digest") or f"blake3:{blake3(payload).hexdigest()}"
        upload = self._upload(key, {**metadata, "digest": digest}, ("digest", digest))
        if len(payload) <= SINGLE_PUT_LIMIT_BYTES:
            upload.whole(payload)
            return
        try:
            view = memoryview(payload)
            in_parallel(
                lambda at: upload.part(at // PART_BYTES + 1, at, Part(view[at : at + PART_BYTES])),
                range(0, len(payload), PART_BYTES),
            )
            upload.complete()
        except BaseException:
            upload.abort()
            raise

    def upload(self, key: str, metadata: Mapping[str, str], media_type: str | None = None) -> S3Upload:
        """Return an upload to a new key. Does no I/O."""
        mark = "upload", secrets.token_hex(16)
        typed = {"ContentType": media_type} if media_type else {}
        return self._upload(key, dict([*metadata.items(), mark]), mark, **typed)

    def _upload(self, key: str, metadata: Mapping[str, str], mark: tuple[str, str], **typed: str) -> S3Upload:
        arguments = {"Metadata": metadata, **typed, **self._encryption()}
        return S3Upload(
            self._clients.get, self.bucket, key, mark, arguments, self._transfer, self._translated
        )

    def get(self, key: str, size_bytes: int) -> bytes:
        """Return an object's bytes, exactly ``size_bytes`` of them. Memory: the payload once.

        Raises:
            PayloadMissingError: there is no such object.
            PayloadCorruptError: it has another size, or changed while it was read.
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        return filled(size_bytes, lambda view: self.get_into(key, view))

    def get_into(self, key: str, view: memoryview) -> None:
        """Fill ``view`` with an object's bytes, of which there must be just as many; raises as ``get``."""
        with self._translated(f"key={key}"):
            read_object(self._at(key), view)

    def get_range(
        self, key: str, start: int, stop: int, *, etag: str | None = None, version: str | None = None
    ) -> bytes:
        """Return the bytes of an object from ``start`` up to ``stop``, not included: one GET.

        Raises:
            PayloadMissingError: there is no such object.
            PayloadCorruptError: it has another ETag, or ends before ``stop``.
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self._translated(f"key={key}"):
            return read_range(self._at(key), start, stop, etag=etag, version=version)

    def _at(self, key: str) -> Place:
        return Place(self._clients.get(), self._transfer, self.bucket, key)

    def head(self, key: str, version: str | None = None) -> Head:
        """Return what S3 says of an object: one HEAD.

        Raises:
            PayloadMissingError: there is no such object.
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self._translated(f"key={key}"):
            found = self._clients.get().head_object(Bucket=self.bucket, Key=key, **_version(version))
        return Head(
            found["ContentLength"],
            found["ETag"].strip('"'),
            found.get("VersionId"),
            found["LastModified"].astimezone(UTC),
            found.get("ContentType"),
        )

    def url(
        self,
        key: str,
        expires_seconds: int,
        *,
        method: str = "GET",
        version: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
    ) -> str:
        """Return a presigned URL for one key. Makes no request, but for credentials.

        Raises:
            StoreDeniedError, StoreUnavailableError: there are no credentials.
        """
        with self._translated(f"key={key}"):
            client: S3Client = self._clients.get()
            return client.generate_presigned_url(
                {"GET": "get_object", "PUT": "put_object"}[method],
                Params={"Bucket": self.bucket, "Key": key, **_version(version), **(parameters or {})},
                ExpiresIn=expires_seconds,
            )

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete objects, a thousand in a request; return the error of each key that is left.

        Safe to call twice: a missing key counts as deleted.

        Raises:
            StoreDeniedError, StoreUnavailableError: of a whole request; keys of others may be deleted.
        """
        left: dict[str, StoreError] = {}
        for start in range(0, len(keys), S3_DELETE_COUNT):
            left |= self._delete_batch(keys[start : start + S3_DELETE_COUNT])
        return left

    def _delete_batch(self, keys: Sequence[str]) -> dict[str, StoreError]:
        with self._translated(f"keys={keys[0]} and {len(keys) - 1} more"):
            answer = self._clients.get().delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        codes = {error["Key"]: error.get("Code", "") for error in answer.get("Errors", ())}
        why = {code: self._left(code, count) for code, count in Counter(codes.values()).items()}
        return {key: why[code] for key, code in codes.items()}

    def _left(self, code: str, count: int) -> StoreError:
        """Return the error of keys that S3 did not delete; it reports them with status 200, key by key."""
        what = f"not deleted [bucket={self.bucket}, keys={count}]: S3 answered {code}"
        if TABLE.is_denial(code):
            return StoreDeniedError(f"{what}; allow s3:DeleteObject")
        return StoreUnavailableError(what)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield objects whose key, after the store's prefix, begins with ``prefix``; 1,000 a request.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        with self._translated(f"prefix={full}"):
            pages = self._clients.get().get_paginator("list_objects_v2")
            for found in pages.paginate(Bucket=self.bucket, Prefix=full).search("Contents[]"):
                if found:
                    yield StoredObject(found["Key"], found["Size"], found["LastModified"].astimezone(UTC))

    def records(self) -> S3Records:
        """Return the records of ``@idempotent``. Does no I/O."""
        return S3Records(self.bucket, self._clients.get, self._reader, self._encryption(), self._translated)

    def presigned_uploads(self) -> S3PresignedUploads:
        """Return what signs uploads to the bucket, for clients without credentials. Does no I/O."""
        return S3PresignedUploads(self.bucket, self._clients.get, self._encryption(), self._translated)

    def _reader(self) -> "S3Client":
        """Return a client whose timeout fits the deadline."""
        is_soon = deadline() - monotonic() <= SHORT_TIMEOUT_SECONDS
        client: S3Client = (self._short_timeout_clients if is_soon else self._clients).get()
        return client

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones. Safe to call twice."""
        self._clients.close()
        self._short_timeout_clients.close()
        if self._transfer is not None:
            self._transfer.close()

    def _encryption(self) -> dict[str, str]:
        chosen = {"ServerSideEncryption": self.server_side_encryption, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in chosen.items() if value}

    def _translated(self, what: str) -> AbstractContextManager[None]:
        return TABLE.translated(f"bucket={self.bucket}, {what}", self._clients.region_name)


def _version(version: str | None) -> dict[str, Any]:
    return {"VersionId": version} if version else {}

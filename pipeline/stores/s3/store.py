"""Payloads in S3: one request for a small one, parallel parts for a large one; never overwrites.

Endpoint, credentials and region come from boto3's own chain: ``AWS_ENDPOINT_URL``, profiles, roles.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from blake3 import blake3
from botocore.exceptions import ClientError

from pipeline.aws.limits import S3_DELETE_COUNT
from pipeline.errors import PayloadMissingError, StoreDeniedError, StoreError, StoreUnavailableError
from pipeline.stores.protocol import StoredObject, deadline
from pipeline.stores.s3.client import ClientPerProcess
from pipeline.stores.s3.errors import KEY_TAKEN_CODES, VENDOR_ERRORS, code_of, is_denial, translated
from pipeline.stores.s3.reading import PART_BYTES, in_parallel, read_object
from pipeline.stores.s3.records import S3Records

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

TIMEOUT_SECONDS = 10.0
"""Timeout of a silent connection. S3 answers within tens of milliseconds, and botocore's three
attempts of ten seconds fit the 30 that a task waits for its store (``Options.store_retry_seconds``)."""

SHORT_TIMEOUT_SECONDS = 3.0
"""The same, with one attempt, for a record whose deadline is this close."""

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

    Raises:
        ValueError: an argument is wrong, or contradicts another.
    """

    bucket: str
    prefix: str = ""
    server_side_encryption: str | None = field(default=None, kw_only=True)
    kms_key_id: str | None = field(default=None, kw_only=True)
    timeout_seconds: float = field(default=TIMEOUT_SECONDS, kw_only=True)
    region: str | None = field(default=None, kw_only=True)
    _clients: ClientPerProcess = field(init=False, repr=False, compare=False)
    _short_timeout_clients: ClientPerProcess = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.bucket:
            raise ValueError("bucket is empty: name the bucket that holds the payloads")
        if self.timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds={self.timeout_seconds}: expected more than 0")
        if self.server_side_encryption not in ENCRYPTIONS:
            expected = ", ".join(map(repr, ENCRYPTIONS))
            raise ValueError(f"server_side_encryption={self.server_side_encryption!r}: expected {expected}")
        if self.kms_key_id and not (self.server_side_encryption or "").startswith("aws:kms"):
            raise ValueError(
                "kms_key_id is set and has no effect: set server_side_encryption='aws:kms' as well"
            )
        object.__setattr__(self, "prefix", self.prefix.strip("/"))
        object.__setattr__(self, "_clients", ClientPerProcess(self.region, self.timeout_seconds))
        short = ClientPerProcess(self.region, min(SHORT_TIMEOUT_SECONDS, self.timeout_seconds), 1)
        object.__setattr__(self, "_short_timeout_clients", short)

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
        arguments = {"Metadata": {**metadata, "digest": digest}, **self._encryption()}
        send = self._put_whole if len(payload) <= SINGLE_PUT_LIMIT_BYTES else self._put_parts
        with self._translated(f"key={key}"):
            try:
                send(key, payload, arguments)
            except ClientError as exc:
                if code_of(exc) not in KEY_TAKEN_CODES:
                    raise
                self._accept_if_ours(key, len(payload), digest)

    def _put_whole(self, key: str, payload: bytes, arguments: dict[str, Any]) -> None:
        client = self._clients.get()
        client.put_object(Bucket=self.bucket, Key=key, Body=payload, IfNoneMatch="*", **arguments)

    def _put_parts(self, key: str, payload: bytes, arguments: dict[str, Any]) -> None:
        """Send parts in parallel; s3transfer does not support ``IfNoneMatch``.

        Source: s3transfer 0.19.3, ``manager.py``, ``ALLOWED_UPLOAD_ARGS``.
        """
        client = self._clients.get()
        place: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        # Parts have a CRC32 unless boto3's configuration disables it, and S3 needs to know at the start.
        if client.meta.config.request_checksum_calculation == "when_supported":  # type: ignore[attr-defined]
            arguments = {**arguments, "ChecksumAlgorithm": "CRC32"}
        upload = client.create_multipart_upload(**place, **arguments)["UploadId"]
        try:
            send = partial(self._put_part, key, payload, upload)
            parts = in_parallel(send, range(0, len(payload), PART_BYTES))
            client.complete_multipart_upload(
                **place, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except BaseException:
            # An incomplete upload costs money, and no listing shows it.
            with suppress(*VENDOR_ERRORS):
                client.abort_multipart_upload(**place, UploadId=upload)
            raise

    def _put_part(self, key: str, payload: bytes, upload: str, start: int) -> "CompletedPartTypeDef":
        number = start // PART_BYTES + 1
        part = self._clients.get().upload_part(
            Bucket=self.bucket,
            Key=key,
            UploadId=upload,
            PartNumber=number,
            # A copy of this part: botocore accepts bytes and files, and no memoryview.
            Body=payload[start : start + PART_BYTES],
        )
        completed: CompletedPartTypeDef = {"PartNumber": number, "ETag": part["ETag"]}
        if checksum := part.get("ChecksumCRC32"):
            completed["ChecksumCRC32"] = checksum
        return completed

    def _accept_if_ours(self, key: str, size_bytes: int, digest: str) -> None:
        """Accept an existing key if an earlier attempt of this call wrote it.

        If an answer of S3 is lost, botocore repeats the request, and S3 answers that the key exists.
        """
        try:
            with self._translated(f"key={key}"):
                head = self._clients.get().head_object(Bucket=self.bucket, Key=key)
        except PayloadMissingError as exc:
            raise StoreUnavailableError(
                f"payload not stored [{self._place(f'key={key}')}]: another object had the key and was "
                "deleted, or the upload was aborted; try again"
            ) from exc
        if (head["ContentLength"], head["Metadata"].get("digest")) != (size_bytes, digest):
            raise StoreDeniedError(
                f"store does not overwrite [{self._place(f'key={key}')}]: another object has this "
                f"key, of {head['ContentLength']} bytes instead of {size_bytes}; another writer uses "
                "this prefix"
            )

    def get(self, key: str, size_bytes: int) -> bytes:
        """Return an object's bytes, exactly ``size_bytes`` of them. Memory: the payload once.

        Raises:
            PayloadMissingError: there is no such object.
            PayloadCorruptError: it has another size, or changed while it was read.
            StoreDeniedError: S3 denied the request.
            StoreUnavailableError: S3 did not answer, or the connection broke too often.
        """
        with self._translated(f"key={key}"):
            return read_object(self._clients.get(), self.bucket, key, size_bytes)

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete objects, a thousand in a request; return the error of each key that is left.

        Safe to call twice: a missing key counts as deleted.

        Raises:
            StoreDeniedError: S3 denied a whole request; keys of earlier requests may be deleted.
            StoreUnavailableError: S3 did not answer; some keys may be deleted.
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
        what = f"not deleted [{self._place(f'keys={count}')}]: S3 answered {code}"
        if is_denial(code):
            return StoreDeniedError(f"{what}; allow s3:DeleteObject")
        return StoreUnavailableError(what)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield objects whose key, after the store's prefix, begins with ``prefix``; 1,000 a request.

        Raises:
            StoreDeniedError: S3 denied the request.
            StoreUnavailableError: S3 did not answer.
        """
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        with self._translated(f"prefix={full}"):
            pages = (
                self._clients.get().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=full)
            )
            for found in pages.search("Contents[]"):
                if found:
                    yield StoredObject(found["Key"], found["Size"], found["LastModified"].astimezone(UTC))

    def records(self) -> S3Records:
        """Return the records of ``@idempotent``. Does no I/O."""
        return S3Records(self.bucket, self._clients.get, self._reader, self._encryption(), self._translated)

    def _reader(self) -> "S3Client":
        """Return a client whose timeout fits the deadline."""
        is_soon = deadline() - monotonic() <= SHORT_TIMEOUT_SECONDS
        return (self._short_timeout_clients if is_soon else self._clients).get()

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones. Safe to call twice."""
        self._clients.close()
        self._short_timeout_clients.close()

    def _encryption(self) -> dict[str, str]:
        chosen = {"ServerSideEncryption": self.server_side_encryption, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in chosen.items() if value}

    def _translated(self, what: str) -> AbstractContextManager[None]:
        return translated(self._place(what), self._clients.region_name)

    def _place(self, what: str) -> str:
        return f"bucket={self.bucket}, {what}"

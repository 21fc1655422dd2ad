"""Uploads to S3 by presigned URLs, whole or in parts.

Size, type and checksum are signed headers: S3 answers 403 to a request that sends others, and 400 if the
bytes have another checksum. That needs Signature Version 4, which our clients use.
Source: Amazon S3 User Guide, "Checking object integrity".
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pipeline.errors import PayloadMissingError
from pipeline.stores.aws.errors import code_of
from pipeline.stores.presigned_uploads import Announced, Part, Presigned

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class S3PresignedUploads:
    """The uploads of a bucket. Safe to share between threads and to use after a fork.

    Args:
        bucket: name of the bucket.
        client: returns this process's client, which signs with Signature Version 4.
        encryption: arguments of PutObject and CreateMultipartUpload.
        translated: maps boto3's errors to the library's; takes the object.
    """

    bucket: str
    client: "Callable[[], S3Client]"
    encryption: dict[str, Any]
    translated: Callable[[str], AbstractContextManager[None]]

    def put(self, key: str, announced: Announced, expires_seconds: int) -> Presigned:
        """Return the PutObject that creates an object of just this size, type and checksum. Does no I/O."""
        signed = {"Key": key, "ContentType": announced.media_type, "IfNoneMatch": "*", **self.encryption}
        return self._presigned("put_object", announced, expires_seconds, signed)

    def begin(self, key: str, media_type: str) -> str:
        """Begin an object that comes in parts: one CreateMultipartUpload."""
        with self.translated(f"key={key}"):
            answer = self.client().create_multipart_upload(
                Bucket=self.bucket,
                Key=key,
                ContentType=media_type,
                ChecksumAlgorithm="SHA256",
                **self.encryption,
            )
        return answer["UploadId"]

    def put_part(
        self, key: str, upload: str, number: int, announced: Announced, expires_seconds: int
    ) -> Presigned:
        """Return the UploadPart of just this size and checksum. Does no I/O."""
        signed = {"Key": key, "UploadId": upload, "PartNumber": number}
        return self._presigned("upload_part", announced, expires_seconds, signed)

    def _presigned(
        self, operation: str, announced: Announced, expires_seconds: int, signed: dict[str, Any]
    ) -> Presigned:
        arguments = {**signed, "ContentLength": announced.size_bytes, "ChecksumSHA256": announced.sha256}
        url = self.client().generate_presigned_url(
            operation, {"Bucket": self.bucket, **arguments}, ExpiresIn=expires_seconds
        )
        headers = {_HEADERS[name]: value for name, value in arguments.items() if name in _HEADERS}
        return Presigned("PUT", url, headers)

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        """Return the parts that S3 has, in order: one ListParts for a thousand.

        Raises:
            PayloadMissingError: there is no such upload: it was completed, aborted or never begun.
        """
        pages = self.client().get_paginator("list_parts")
        with self.translated(f"key={key}"), _known(key):
            return [
                Part(found["PartNumber"], found["Size"], found["ETag"], found.get("ChecksumSHA256"))
                for page in pages.paginate(Bucket=self.bucket, Key=key, UploadId=upload)
                for found in page.get("Parts", ())
            ]

    def complete(self, key: str, upload: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts: one CompleteMultipartUpload.

        Raises:
            PayloadMissingError: there is no such upload.
        """
        listed: Any = [
            {"PartNumber": part.number, "ETag": part.etag}
            | ({"ChecksumSHA256": part.sha256} if part.sha256 else {})
            for part in parts
        ]
        with self.translated(f"key={key}"), _known(key):
            self.client().complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": listed}
            )

    def abort(self, key: str, upload: str) -> None:
        """Delete the parts of an upload: one AbortMultipartUpload. Safe to call twice."""
        with suppress(PayloadMissingError), self.translated(f"key={key}"), _known(key):
            self.client().abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)


@contextmanager
def _known(key: str) -> Iterator[None]:
    """Say of an upload that S3 does not know that it is missing."""
    try:
        yield
    except ClientError as exc:
        if code_of(exc) != "NoSuchUpload":
            raise
        raise PayloadMissingError(
            f"no such upload [key={key}]: it was completed, aborted or never begun"
        ) from exc


_HEADERS = {
    "ContentType": "Content-Type",
    "IfNoneMatch": "If-None-Match",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}
"""Header of each argument that a client must send; a browser sets Content-Length itself."""

"""Records in S3: PutObject with ``If-None-Match`` or ``If-Match``, DeleteObject with ``If-Match``.

S3 answers 412 if the condition is not met, 404 if the key of ``If-Match`` does not exist, and 409 for two
concurrent requests; that one is sent again. A tag is an ETag. Sources: S3 API
Reference, PutObject; S3 User Guide, "How to prevent object overwrites with conditional writes" and "How to
perform conditional deletes" (s3:GetObject is needed for both with an ETag).
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pipeline.stores.aws.errors import code_of
from pipeline.stores.protocol import deadline
from pipeline.stores.s3.reading import cut_off

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONDITION_FAILED_CODES = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404"})
"""S3's codes for a condition that is not met."""


@dataclass(frozen=True, slots=True)
class S3Records:
    """The records of a bucket. Safe to share between threads and to use after a fork.

    Args:
        bucket: name of the bucket.
        client: returns this process's client.
        reader: returns the client for reads, which ends by the deadline.
        encryption: arguments of PutObject.
        translated: maps boto3's errors to the library's; takes the object.
    """

    bucket: str
    client: "Callable[[], S3Client]"
    reader: "Callable[[], S3Client]"
    encryption: Mapping[str, Any]
    translated: Callable[[str], AbstractContextManager[None]]

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a record's content and ETag, or None if there is none: one GET.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self.translated(f"key={key}"):
            try:
                answer = self.reader().get_object(Bucket=self.bucket, Key=key)
            except ClientError as exc:
                if code_of(exc) in CONDITION_FAILED_CODES:
                    return None
                raise
            with closing(answer["Body"]) as body, cut_off(body, deadline()):
                return body.read(), answer["ETag"]

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Write a record conditionally: one PUT. Return its new ETag; None if the condition failed.

        Not in parts: moto 5.2.5 ignores conditions of CompleteMultipartUpload.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        condition: Any = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with self.translated(f"key={key}"):
            try:
                answer = self.client().put_object(
                    Bucket=self.bucket, Key=key, Body=content, **condition, **self.encryption
                )
            except ClientError as exc:
                if code_of(exc) in CONDITION_FAILED_CODES:
                    return None
                raise
        return answer["ETag"]

    def remove(self, key: str, tag: str) -> bool:
        """Delete a record conditionally, and return whether the condition was met: one DELETE.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self.translated(f"key={key}"):
            try:
                self.client().delete_object(Bucket=self.bucket, Key=key, IfMatch=tag)
            except ClientError as exc:
                if code_of(exc) in CONDITION_FAILED_CODES:
                    return False
                raise
        return True

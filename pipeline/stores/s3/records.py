"""Records in S3: PutObject with ``If-None-Match`` or ``If-Match``, DeleteObject with ``If-Match``.

S3 answers 412 if the condition does not hold, 404 if a key to be matched is gone, and 409 if it was asked to
decide between two at the very same time; that one is asked again. A tag is an ETag. Sources: S3 API
Reference, PutObject; S3 User Guide, "How to prevent object overwrites with conditional writes" and "How to
perform conditional deletes" (s3:GetObject is needed for both with an ETag).
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pipeline.stores.protocol import deadline
from pipeline.stores.s3.errors import code_of
from pipeline.stores.s3.reading import cut_off

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOT_SO_CODES = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404"})
"""What S3 answers when a condition does not hold."""


@dataclass(frozen=True, slots=True)
class S3Records:
    """The records of a bucket. Safe to share between threads and to use after a fork.

    Args:
        bucket: name of the bucket.
        client: returns this process's client.
        reader: returns the one for reads, which gives up by the deadline.
        encryption: arguments of PutObject.
        translated: turns the vendor's errors into ours; takes the place where they happened.
    """

    bucket: str
    client: "Callable[[], S3Client]"
    reader: "Callable[[], S3Client]"
    encryption: Mapping[str, Any]
    translated: Callable[[str], AbstractContextManager[None]]

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a record's content and ETag, or None if there is none: one GET.

        Raises:
            StoreDeniedError, StoreUnavailableError: as the table of errors says.
        """
        with self.translated(f"key={key}"):
            try:
                answer = self.reader().get_object(Bucket=self.bucket, Key=key)
            except ClientError as exc:
                if code_of(exc) in NOT_SO_CODES:
                    return None
                raise
            with closing(answer["Body"]) as body, cut_off(body, deadline()):
                return body.read(), answer["ETag"]

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Write a record on condition, and return its new ETag: one PUT, whatever its size up to 5 GiB.

        In one piece, as a stand-in may not know conditions of a CompleteMultipartUpload (moto 5.2.5).

        Raises:
            StoreDeniedError, StoreUnavailableError: as the table of errors says.
        """
        condition: Any = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with self.translated(f"key={key}"):
            try:
                answer = self.client().put_object(
                    Bucket=self.bucket, Key=key, Body=content, **condition, **self.encryption
                )
            except ClientError as exc:
                if code_of(exc) in NOT_SO_CODES:
                    return None
                raise
        return answer["ETag"]

    def remove(self, key: str, tag: str) -> bool:
        """Delete a record on condition, and say whether the condition held: one DELETE.

        Raises:
            StoreDeniedError, StoreUnavailableError: as the table of errors says.
        """
        with self.translated(f"key={key}"):
            try:
                self.client().delete_object(Bucket=self.bucket, Key=key, IfMatch=tag)
            except ClientError as exc:
                if code_of(exc) in NOT_SO_CODES:
                    return False
                raise
        return True

"""How an object is written to S3: in one request or in parts, and never over another object."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from io import RawIOBase
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from pipeline.errors import PayloadMissingError, StoreDeniedError, StoreUnavailableError
from pipeline.stores.aws.errors import VENDOR_ERRORS, code_of
from pipeline.stores.protocol import deadline
from pipeline.stores.s3.error_table import KEY_TAKEN_CODES
from pipeline.stores.s3.obstore_transfer import ObstoreTransfer
from pipeline.stores.s3.reading import READ_BYTES, SLOWEST_BYTES_PER_SECOND

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


class Part(RawIOBase):
    """Some bytes of a payload as botocore sends them without a copy: it takes files, and no memoryview.

    A read returns what is asked for or more, and a view. http.client and botocore accept both; blocks of
    http.client's own 16 KiB would be as many calls of the system.
    Source: CPython 3.11, ``http/client.py`` (``_read_readable``); botocore 1.44, ``httpchecksum.py``.
    """

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int = -1) -> Any:
        """Return the next bytes: a view of them, or no bytes at the end."""
        stop = len(self._view) if size < 0 else self._at + max(size, READ_BYTES)
        found = self._view[self._at : stop]
        self._at += len(found)
        return found if len(found) else b""

    def seekable(self) -> bool:
        """Say that it can be sent again."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, as botocore does before it sends the same bytes again."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._view)}[whence]
        return self._at


@dataclass(frozen=True, slots=True)
class S3Upload:
    """One object on its way to S3. Safe to share between threads.

    s3transfer cannot do it: it does not support ``IfNoneMatch``.
    Source: s3transfer 0.19.3, ``manager.py``, ``ALLOWED_UPLOAD_ARGS``.

    Args:
        client: returns this process's client.
        bucket: name of the bucket.
        key: full key.
        mark: name and value of the metadata by which an object is known to be this one.
        arguments: of PutObject and CreateMultipartUpload.
        transfer: stores an object that is sent in one request, if it can.
        translated: maps boto3's errors to the library's; takes the object.
    """

    client: "Callable[[], S3Client]"
    bucket: str
    key: str
    mark: tuple[str, str]
    arguments: Mapping[str, Any]
    transfer: ObstoreTransfer | None
    translated: Callable[[str], AbstractContextManager[None]]
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    _ids: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _parts: "dict[int, tuple[CompletedPartTypeDef, int]]" = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def whole(self, data: bytes) -> str:
        """Send the object in one request, and return its ETag.

        Raises:
            StoreDeniedError: S3 denied the request, or another object has the key.
            StoreUnavailableError: S3 did not answer, or answered that it cannot serve now.
        """
        return self._stored(len(data), lambda: {"ETag": self._put(data)})

    def _put(self, data: bytes) -> str:
        until = deadline() + len(data) / SLOWEST_BYTES_PER_SECOND
        if self.transfer is not None and (etag := self.transfer.put(self.key, data, self.arguments, until)):
            return etag
        answer = self.client().put_object(**self._place, Body=data, IfNoneMatch="*", **self.arguments)
        return answer["ETag"]

    def part(self, number: int, start: int, data: bytes | Part) -> None:  # noqa: ARG002 - S3 orders by number
        """Send a part.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self._translated():
            answer = self.client().upload_part(
                **self._place, UploadId=self._id(), PartNumber=number, Body=cast("Any", data)
            )
        completed: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
        if checksum := answer.get("ChecksumCRC32"):
            completed["ChecksumCRC32"] = checksum
        self._parts[number] = completed, len(data)

    def complete(self) -> str:
        """Make the object of all parts, and return its ETag.

        Raises:
            StoreDeniedError: S3 denied the request, or another object has the key.
            StoreUnavailableError: S3 did not answer, or answered that it cannot serve now.
        """
        parts = [self._parts[number][0] for number in sorted(self._parts)]
        return self._stored(
            sum(size_bytes for _, size_bytes in self._parts.values()),
            lambda: self.client().complete_multipart_upload(
                **self._place, UploadId=self._id(), MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            ),
        )

    def abort(self) -> None:
        """Drop the parts: an incomplete upload costs money, and no listing shows it. Never fails."""
        for upload in self._ids:
            with suppress(*VENDOR_ERRORS):
                self.client().abort_multipart_upload(**self._place, UploadId=upload)

    def _id(self) -> str:
        """Return the id of the upload, which begins with its first part."""
        with self._lock:
            if not self._ids:
                arguments = dict(self.arguments)
                # Parts have a CRC32 unless boto3's configuration disables it; S3 needs to know at the start.
                config: Any = self.client().meta.config
                if config.request_checksum_calculation == "when_supported":
                    arguments["ChecksumAlgorithm"] = "CRC32"
                answer = self.client().create_multipart_upload(**self._place, **arguments)
                self._ids.append(answer["UploadId"])
            return self._ids[0]

    def _stored(self, size_bytes: int, request: Callable[[], Mapping[str, Any]]) -> str:
        with self._translated():
            try:
                etag: str = request()["ETag"]
            except ClientError as exc:
                if code_of(exc) not in KEY_TAKEN_CODES:
                    raise
                etag = self._accept_if_ours(size_bytes)
        return etag.strip('"')

    def _accept_if_ours(self, size_bytes: int) -> str:
        """Accept an existing object if an earlier attempt of this upload stored it, and return its ETag.

        If an answer of S3 is lost, botocore repeats the request, and S3 answers that the key exists.
        """
        place = f"bucket={self.bucket}, key={self.key}"
        try:
            with self._translated():
                head = self.client().head_object(**self._place)
        except PayloadMissingError as exc:
            raise StoreUnavailableError(
                f"payload not stored [{place}]: another object had the key and was deleted, or the upload "
                "was aborted; try again"
            ) from exc
        name, value = self.mark
        if (head["ContentLength"], head["Metadata"].get(name)) != (size_bytes, value):
            raise StoreDeniedError(
                f"store does not overwrite [{place}]: another object has this key, of "
                f"{head['ContentLength']} bytes instead of {size_bytes}; another writer uses this prefix"
            )
        return head["ETag"]

    @property
    def _place(self) -> dict[str, Any]:
        return {"Bucket": self.bucket, "Key": self.key}

    def _translated(self) -> AbstractContextManager[None]:
        return self.translated(f"key={self.key}")

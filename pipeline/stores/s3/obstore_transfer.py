"""Payloads through obstore, a client of S3 in Rust that takes an eighth of boto3's CPU time.

It carries payloads alone, and only what succeeds at once. Whatever else happens, the caller sends the request
again with boto3, whose retries, credentials and errors count: a payload that obstore stored although its
answer was lost is then recognised by its digest. docs/explanation/speed.md has the figures.

obstore's runtime does not survive a fork: calls of a child would never end. So a process that was forked
after its parent had begun to use obstore uses boto3 alone. obstore also waits where neither signals nor other
greenlets get their turn: its calls are made in threads of their own, and with gevent or eventlet there
are none. Source: obstore 0.12.1; pinned in ``test_s3_obstore.py``.
"""

import os
import re
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from botocore.utils import get_environ_proxies

from pipeline.aws.credentials import frozen
from pipeline.errors import StoreUnavailableError
from pipeline.telemetry import log_lines

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

logger = log_lines.logger(__name__)

LEAST_BYTES = 65_536
"""boto3 carries what is smaller. The main process of a worker, which sends ten bytes to check the store, must
not begin to use obstore: its children could not."""

CONNECT_SECONDS = 5
TRANSFER_SECONDS = 16
"""So long a request may take beyond the timeout: 16 MiB at the slowest accepted transfer."""

READ_BYTES = 256 * 1024
"""Bytes of one read: eight streams at once hold 16 MiB with it, and 38 with 1 MiB, in the same time."""

THREADS_COUNT = 64
"""As many transfers of a process as boto3 has connections for; more wait."""

_PLAIN_KEY = re.compile(r"[\w/.=-]+\Z", re.ASCII)
"""Keys that obstore sends as they are. It encodes some characters, such as ``*``."""

_user: int | None = None
"""Id of the first process that used obstore, of this one and those that it was forked from."""


@dataclass(slots=True)
class ObstoreTransfer:
    """Transfers of one bucket. Safe to share between threads, to inherit by fork, and to pickle.

    Args:
        bucket: name of the bucket.
        client: returns this process's boto3 client, which knows endpoint, region and credentials.
        encryption: arguments of PutObject.
        timeout_seconds: timeout of a silent connection.
    """

    bucket: str
    client: "Callable[[], S3Client]"
    encryption: Mapping[str, str]
    timeout_seconds: float
    _made: tuple[Any, Any] | None = field(default=None, init=False, repr=False, compare=False)
    """Credentials, and obstore's store that has them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.bucket, self.client, self.encryption, self.timeout_seconds)

    def obstacle(self) -> str:
        """Return why boto3 carries payloads in this process; an empty text if obstore does."""
        if not _is_installed():
            return "the extra obstore is not installed"
        if _user not in {None, os.getpid()}:
            return "this process was forked from one that uses obstore"
        if socket.socket.__module__ != "socket":
            return "sockets are those of gevent or eventlet"
        return _obstacle(self.client(), self.bucket)

    def put(self, key: str, data: bytes, arguments: Mapping[str, Any], until: float) -> str | None:
        """Store an object under a new key, and return its ETag; None if boto3 has to do it.

        Args:
            key: full key.
            data: its bytes.
            arguments: of PutObject.
            until: deadline on the monotonic clock.

        Raises:
            StoreUnavailableError: S3 did not answer within the timeout, or by the deadline.
        """
        if len(data) < LEAST_BYTES:
            return None
        attributes = dict(arguments["Metadata"])
        if "ContentType" in arguments:
            attributes["Content-Type"] = arguments["ContentType"]

        def put(store: Any) -> str | None:
            found = _obstore().put(
                store, key, data, attributes=attributes, mode="create", use_multipart=False
            )
            return str(found["e_tag"]) if found["e_tag"] else None

        return self._done(key, until, put)

    def read(  # noqa: PLR0913 - which object, which bytes, which content
        self,
        key: str,
        view: memoryview,
        start: int,
        *,
        until: float,
        size_bytes: int | None,
        etag: str | None,
        version: str | None,
    ) -> bool:
        """Fill ``view`` from ``start`` of an object on, and return True; False if boto3 has to do it.

        Args:
            key: full key.
            view: what to fill.
            start: position of its first byte in the object.
            until: deadline on the monotonic clock.
            size_bytes: size of the object, if it is known.
            etag: the object must have it, if it is given.
            version: version of the object.

        Raises:
            StoreUnavailableError: S3 did not answer within the timeout, or by the deadline.
        """
        if len(view) < LEAST_BYTES:
            return False
        stop = start + len(view)
        options: dict[str, Any] = {"version": version} if version else {}
        if etag:
            options["if_match"] = f'"{etag}"'
        if (start, stop) != (0, size_bytes):
            options["range"] = (start, stop)

        def read(store: Any) -> bool:
            found = _obstore().get(store, key, options=options)
            total = found.meta["size"]
            if found.range != (start, stop) or total != (total if size_bytes is None else size_bytes):
                return False
            return _filled(view, found) == len(view)

        return self._done(key, until, read) or False

    def close(self) -> None:
        """Close the connections; the next call opens new ones. Safe to call twice."""
        self._made = None

    def _done(self, key: str, until: float, call: Callable[[Any], T]) -> T | None:
        """Return what a call returns, or None if it is not made, or fails in another way than by silence."""
        store = self.store() if _PLAIN_KEY.match(key) else None
        if store is None:
            return None
        start = monotonic()
        value, error = _in_thread(
            partial(_attempt, call, store), min(until - start, self.timeout_seconds + TRANSFER_SECONDS)
        )
        ended = monotonic()
        if error is not None and (ended - start >= self.timeout_seconds or ended >= until):
            raise StoreUnavailableError(
                f"store unavailable [bucket={self.bucket}, key={key}]: no whole answer within "
                f"{ended - start:.1f} s; try again later"
            ) from error
        if error is not None:
            logger.debug("boto3 repeats a request of obstore", extra={"key": key, "error": repr(type(error))})
        return value

    def store(self) -> Any:
        """Return obstore's store with the credentials that boto3 has now; None if boto3 carries payloads."""
        global _user  # noqa: PLW0603 - of the process
        if self.obstacle():
            return None
        client = self.client()
        credentials, made = frozen(client), self._made
        if made is not None and made[0] == credentials:
            return made[1]
        if credentials is None:
            return None
        _user = os.getpid()
        self._made = credentials, self._new_store(client, credentials)
        return self._made[1]

    def _new_store(self, client: "S3Client", credentials: Any) -> Any:
        from obstore.store import S3Store  # noqa: PLC0415 - an extra, and 40 ms

        place = _place(client, self.bucket)
        encryption = {
            "server_side_encryption": self.encryption.get("ServerSideEncryption"),
            "sse_kms_key_id": self.encryption.get("SSEKMSKeyId"),
            "session_token": credentials.token,
        }
        return S3Store(
            self.bucket,
            endpoint=f"{place.scheme}://{place.netloc}",
            virtual_hosted_style_request=place.path == "/k",
            region=client.meta.region_name,
            access_key_id=credentials.access_key,
            secret_access_key=credentials.secret_key,
            unsigned_payload=place.scheme == "https",  # TLS protects it on its way, as with boto3
            client_options={
                "allow_http": place.scheme == "http",
                "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, self.timeout_seconds)),
                "read_timeout": timedelta(seconds=self.timeout_seconds),
                "timeout": timedelta(seconds=self.timeout_seconds + TRANSFER_SECONDS),
            },
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=self.timeout_seconds)},
            **{name: value for name, value in encryption.items() if value},
        )


def check_installed() -> None:
    """Check that obstore is there.

    Raises:
        ValueError: it is not.
    """
    if not _is_installed():
        raise ValueError(
            "payload_client='obstore' needs the extra obstore: "
            "pip install 'celery-claimcheck-pipeline[obstore]', or leave the argument out"
        )


@cache
def _is_installed() -> bool:
    return find_spec("obstore") is not None


def _obstore() -> Any:
    import obstore  # noqa: PLC0415 - an extra

    return obstore


def _place(client: "S3Client", bucket: str) -> Any:
    """Return the URL of an object ``k`` of a bucket, as boto3 chooses it."""
    return urlsplit(client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}))


@lru_cache(maxsize=8)
def _obstacle(client: "S3Client", bucket: str) -> str:
    """Return what boto3 is configured for and obstore is not; an empty text if there is nothing."""
    place, config = _place(client, bucket), cast("Any", client.meta.config)
    session = cast("Any", client)._endpoint.http_session  # noqa: SLF001 - where botocore keeps certificates
    if place.path not in {"/k", f"/{bucket}/k"} or bucket.endswith("--x-s3"):
        return "the bucket is an access point or a directory bucket, or its endpoint has a path"
    if config.proxies or get_environ_proxies(place.geturl()):
        return "S3 is reached through a proxy"
    if place.scheme == "https" and (session._verify is not True or session._cert_file):  # noqa: SLF001
        return "TLS has certificates of its own"
    return ""


def _attempt(call: Callable[[Any], T], store: Any) -> tuple[T | None, Exception | None]:
    """Return what a call returns, or its error as a value: an exception is that of a signal's handler."""
    try:
        return call(store), None
    except (OSError, ValueError, _obstore().exceptions.BaseError) as exc:
        return None, exc


def _filled(view: memoryview, found: Any) -> int:
    filled = 0
    for chunk in found.stream(min_chunk_size=READ_BYTES):
        size = len(chunk)
        view[filled : filled + size] = chunk
        filled += size
    return filled


def _in_thread(
    call: Callable[[], tuple[T | None, Exception | None]], seconds: float
) -> tuple[T | None, Exception | None]:
    """Make a call in another thread: the end of the time, or a signal's handler, ends the wait for it."""
    future = _threads().submit(call)
    wait([future], max(seconds, 0))
    return future.result() if future.done() else (None, TimeoutError())


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that wait for obstore; of the one process that uses it."""
    return ThreadPoolExecutor(THREADS_COUNT, "claimcheck-obstore")

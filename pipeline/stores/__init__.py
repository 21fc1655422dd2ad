"""Where payloads are stored.

``protocol``, ``ranges`` and ``records`` define what a store does, ``s3``, ``dynamodb``, ``file`` and
``memory`` are the stores, and :func:`store_from_url` here chooses one::

s3://bucket/prefix      a bucket; boto3 finds endpoint, region and credentials
dynamodb://table/prefix a table of DynamoDB; boto3 finds the same
file:///directory       a directory of this machine
memory://name           the memory of this process; a name is one store
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.aws.limits import S3_KEY_LIMIT_BYTES
from pipeline.stores.file.store import FileStore
from pipeline.stores.memory import MemoryStore
from pipeline.stores.protocol import Store, StoredObject
from pipeline.stores.ranges import Head, RangeStore, Upload
from pipeline.stores.records import RecordKeeper, Records

__all__ = ["Head", "RangeStore", "RecordKeeper", "Records", "Store", "StoredObject", "Upload"]

_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+\Z)[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]\Z", re.ASCII)
"""Source: Amazon S3 user guide, "General purpose bucket naming rules"."""

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}\Z", re.ASCII)
"""Source: DynamoDB Developer Guide, "Quotas in Amazon DynamoDB"."""

_PREFIX = re.compile(r"[\w!.*'()=-]+(?:/[\w!.*'()=-]+)*\Z", re.ASCII)
"""S3's safe characters, and ``=``. Source: Amazon S3 user guide, "Naming Amazon S3 objects"."""

_PREFIX_LIMIT_BYTES = S3_KEY_LIMIT_BYTES // 2
"""Longest prefix; the rest of a key is this library's."""

RESERVED = frozenset({"handles", "results", "once", "revoked"})
"""Folders below the prefix for payloads of handles and results, and for two kinds of records."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z", re.ASCII)

_memories: dict[str, MemoryStore] = {}


def store_from_url(url: str, ttl_seconds: int | None = None, **options: Any) -> Store:
    """Return the store that a URL names. Does no I/O.

    Args:
        url: ``s3://bucket/prefix``, ``dynamodb://table/prefix``, ``file:///directory`` or ``memory://name``.
        ttl_seconds: longest life of an object, for a store that expires objects itself: DynamoDB.
        **options: for S3, those of :class:`~pipeline.stores.s3.store.S3Store`; None counts as absent.

    Raises:
        ValueError: the URL is none of these, or an option is not one of that store's. The message
            never repeats the whole URL, which may contain a password.
    """
    parts = _split(url)
    make = _SCHEMES.get(parts.scheme)
    if make is None:
        raise ValueError(
            f"store URL: unknown scheme {parts.scheme!r}; expected s3://bucket/prefix, "
            "dynamodb://table/prefix, file:///directory or memory://name"
        )
    given = {name: value for name, value in options.items() if value is not None}
    return make(parts, given, ttl_seconds)


def check_prefix(prefix: str) -> None:
    """Check that a store does not share keys with a store one level above.

    Results of a store with the prefix ``x`` have the keys of payloads of a store with ``x/results``: each
    would sweep objects of the other.

    Raises:
        ValueError: the last name of the prefix is reserved.
    """
    above, _, name = prefix.rpartition("/")
    if name in RESERVED or above.rpartition("/")[2] == "handles":
        raise ValueError(
            f"store prefix or directory {prefix!r} ends with {name!r}, where a store one level above keeps "
            f"objects of its own: choose another name than {', '.join(sorted(RESERVED))}"
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("store URL: not a valid URL; expected for example s3://bucket/prefix") from None
    if "@" in parts.netloc:
        raise ValueError(
            "store URL: it must not contain credentials; give them to boto3 (environment, profile or role)"
        )
    if "?" in url or "#" in url:
        raise ValueError("store URL: it must not contain a query or fragment; pass options as arguments")
    if any(segment in {".", ".."} for segment in unquote(parts.path).split("/")):
        raise ValueError("store URL: its path must not contain '.' or '..'")
    return parts


def _s3(parts: SplitResult, options: Mapping[str, Any], _ttl_seconds: int | None) -> Store:
    # Importing boto3 takes 0.2 s, and the other stores do not need it.
    from pipeline.stores.s3.store import S3Store  # noqa: PLC0415

    if not parts.netloc:
        raise ValueError("store URL: no bucket; expected s3://bucket/prefix")
    if not _BUCKET.match(parts.netloc):
        raise ValueError(
            f"store URL: {parts.netloc!r} is not a bucket name; expected 3 to 63 of a-z, 0-9, '.' and '-', "
            "a letter or digit at each end"
        )
    return S3Store(parts.netloc, _prefix(parts.path), **_known(options, _S3_OPTIONS, "s3"))


def _prefix(path: str) -> str:
    prefix = path.strip("/")
    if prefix and not _PREFIX.match(prefix):
        raise ValueError(
            f"store URL: {prefix!r} is not a prefix; expected names of A-Z, a-z, 0-9 and !_.*'()=-, "
            "single slashes between them"
        )
    if len(prefix) > _PREFIX_LIMIT_BYTES:
        raise ValueError(
            f"store URL: its prefix has {len(prefix)} bytes; expected {_PREFIX_LIMIT_BYTES} at most"
        )
    return prefix


def _dynamodb(parts: SplitResult, options: Mapping[str, Any], ttl_seconds: int | None) -> Store:
    from pipeline.stores.dynamodb.store import DynamoDBStore  # noqa: PLC0415 - as for S3

    if not _TABLE.match(parts.netloc):
        raise ValueError(
            f"store URL: {parts.netloc!r} is not the name of a table; expected 3 to 255 of A-Z, a-z, 0-9, "
            "'_', '.' and '-'"
        )
    known = _known(options, _DYNAMODB_OPTIONS, "dynamodb")
    return DynamoDBStore(parts.netloc, _prefix(parts.path), ttl_seconds=ttl_seconds, **known)


def _file(parts: SplitResult, options: Mapping[str, Any], _ttl_seconds: int | None) -> Store:
    _known(options, frozenset(), "file")
    directory = unquote(parts.path)
    if parts.netloc or not directory.strip("/") or "\0" in directory:
        raise ValueError("store URL: expected file:///directory, an absolute path after three slashes")
    check_prefix(directory.rstrip("/"))
    return FileStore(Path(directory))


def _memory(parts: SplitResult, options: Mapping[str, Any], _ttl_seconds: int | None) -> Store:
    _known(options, frozenset(), "memory")
    if parts.path or not _NAME.match(parts.netloc):
        raise ValueError("store URL: expected memory://name, a name of letters, digits, '_', '.' and '-'")
    return _memories.setdefault(parts.netloc, MemoryStore())


def _known(options: Mapping[str, Any], names: frozenset[str], scheme: str) -> Mapping[str, Any]:
    unknown = ", ".join(sorted(options.keys() - names))
    if unknown:
        expected = ", ".join(sorted(names)) or "none"
        raise ValueError(f"store URL: {scheme}:// has no option {unknown}; expected {expected}")
    return options


_S3_OPTIONS = frozenset(
    {"server_side_encryption", "kms_key_id", "timeout_seconds", "region", "payload_client"}
)

_DYNAMODB_OPTIONS = frozenset({"timeout_seconds", "region"})

_SCHEMES: Mapping[str, Callable[[SplitResult, Mapping[str, Any], int | None], Store]] = {
    "s3": _s3,
    "dynamodb": _dynamodb,
    "file": _file,
    "memory": _memory,
}

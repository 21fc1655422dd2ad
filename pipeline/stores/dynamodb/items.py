"""The form of what lies in the table.

A payload is one item under its key, with its first bytes, and further items for the rest, as an item holds at
most 400 KB. The first item is written last: with it the payload begins. It is deleted last too, as it leads
to the others; a payload that lacks one of them is being deleted. The ids of the others contain the payload's
digest, so that two writers of one key never mix their parts.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from blake3 import blake3

from pipeline.stores.protocol import StoredObject

PART_BYTES = 384 * 1024
"""Bytes of a payload in one item. Names, key and metadata have the rest of 400 KB."""

Item = dict[str, Any]

ABOUT = ("id", "size", "modified")
"""Attributes that a listing needs. Items of further parts have no ``size``."""


def key_of(key: str) -> Item:
    """Return the primary key of an item."""
    return {"id": {"S": key}}


TTL_ATTRIBUTE = "expires"
"""Attribute that DynamoDB reads the time from after which it deletes an item, if the table is set up so."""


def expiry(ttl_seconds: int | None) -> Item:
    """Return the TTL attribute of an item that is written now."""
    if ttl_seconds is None:
        return {}
    due = datetime.now(UTC) + timedelta(seconds=ttl_seconds)
    return {TTL_ATTRIBUTE: {"N": str(int(due.timestamp()))}}


def described(size_bytes: int) -> Item:
    """Return the attributes that a listing shows, of an item that is written now."""
    return {"size": {"N": str(size_bytes)}, "modified": {"S": datetime.now(UTC).isoformat()}}


def first(key: str, payload: bytes, metadata: Mapping[str, str]) -> Item:
    """Return the first item of a payload."""
    return {
        **key_of(key),
        **described(len(payload)),
        "data": {"B": payload[:PART_BYTES]},
        "digest": {"S": digest(payload)},
        "metadata": {"M": {name: {"S": value} for name, value in metadata.items()}},
    }


def rest(key: str, payload: bytes) -> Iterator[Item]:
    """Yield the other items of a payload."""
    ids = rest_ids(key, len(payload), digest(payload))
    starts = range(PART_BYTES, len(payload), PART_BYTES)
    for each, start in zip(ids, starts, strict=True):
        yield {**key_of(each), "data": {"B": payload[start : start + PART_BYTES]}}


def rest_ids(key: str, size_bytes: int, digest: str) -> list[str]:
    """Return the ids of a payload's other items. No key of a payload or record contains ``#``."""
    return [f"{key}#{digest}#{start}" for start in range(PART_BYTES, size_bytes, PART_BYTES)]


def ids_of(found: Item) -> list[str]:
    """Return the ids of all other items of the payload whose first item is this."""
    if "digest" not in found:  # a record
        return []
    return rest_ids(found["id"]["S"], size_of(found), found["digest"]["S"])


def size_of(found: Item) -> int:
    """Return the size of the payload whose first item is this."""
    return int(found["size"]["N"])


def stored(found: Item) -> StoredObject:
    """Return an item as a listing shows it."""
    modified = datetime.fromisoformat(found["modified"]["S"])
    return StoredObject(found["id"]["S"], size_of(found), modified)


def digest(payload: bytes) -> str:
    """Return what distinguishes two payloads."""
    return str(blake3(payload).hexdigest())

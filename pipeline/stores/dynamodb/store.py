"""Payloads in a DynamoDB table: one item for a small one, several for a large one; never overwrites.

Credentials and region come from boto3's own chain: ``AWS_ENDPOINT_URL``, profiles, roles.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from pipeline.errors import PayloadCorruptError, PayloadMissingError, StoreDeniedError, StoreError
from pipeline.stores.aws.errors import code_of
from pipeline.stores.dynamodb import items
from pipeline.stores.dynamodb.error_table import CONDITION_FAILED
from pipeline.stores.dynamodb.items import Item
from pipeline.stores.dynamodb.records import DynamoDBRecords
from pipeline.stores.dynamodb.table import Table
from pipeline.stores.protocol import StoredObject

TIMEOUT_SECONDS = 10.0
"""Timeout of a silent connection, as for S3."""


@dataclass(frozen=True, slots=True)
class DynamoDBStore:
    """A store in one table. Safe to share between threads, to use after a fork, and to pickle.

    Args:
        table: name of the table, whose partition key is ``id``, a string, and which has no sort key.
        prefix: first part of all keys; slashes at its ends are dropped.
        ttl_seconds: after which DynamoDB may delete an item, by its attribute ``expires``; None for never.
        timeout_seconds: timeout of a silent connection.
        region: None means boto3's.

    Raises:
        ValueError: an argument is wrong.
    """

    table: str
    prefix: str = ""
    ttl_seconds: int | None = field(default=None, kw_only=True)
    timeout_seconds: float = field(default=TIMEOUT_SECONDS, kw_only=True)
    region: str | None = field(default=None, kw_only=True)
    _table: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds={self.timeout_seconds}: expected more than 0")
        if self.ttl_seconds is not None and self.ttl_seconds <= 0:
            raise ValueError(f"ttl_seconds={self.ttl_seconds}: expected more than 0, or None")
        object.__setattr__(self, "prefix", self.prefix.strip("/"))
        object.__setattr__(self, "_table", Table(self.table, self.region, self.timeout_seconds))

    def put(self, key: str, payload: bytes, metadata: Mapping[str, str]) -> None:
        """Store a payload under a new key: one PutItem, and a BatchWriteItem for each further 9.4 MiB.

        Safe to call twice with the same payload.

        Raises:
            StoreDeniedError: DynamoDB denied the request, or another payload has the key.
            StoreUnavailableError: it did not answer, or has no capacity now.
        """
        expiry = items.expiry(self.ttl_seconds)
        with self._table.translated(f"key={key}"):
            self._table.put_many([{**item, **expiry} for item in items.rest(key, payload)])
            try:
                self._put_first({**items.first(key, payload, metadata), **expiry})
            except ClientError as exc:
                if code_of(exc) != CONDITION_FAILED:
                    raise
                self._accept_if_ours(key, payload)

    def _put_first(self, item: Item) -> None:
        self._table.client.put_item(
            TableName=self.table, Item=item, ConditionExpression="attribute_not_exists(id)"
        )

    def _accept_if_ours(self, key: str, payload: bytes) -> None:
        """Accept an existing key if it has this payload: an earlier attempt of this call wrote it."""
        found = self._table.get(key, "size", "digest") or {}
        ours = items.digest(payload)
        if found.get("digest") != {"S": ours}:
            self._table.delete_many(items.rest_ids(key, len(payload), ours))
            raise StoreDeniedError(
                f"store does not overwrite [{self._table.place(f'key={key}')}]: another payload has this "
                "key; another writer uses this prefix"
            )

    def get(self, key: str, size_bytes: int) -> bytes:
        """Return a payload's bytes, exactly ``size_bytes`` of them. Memory: the payload twice.

        Raises:
            PayloadMissingError: there is no such payload.
            PayloadCorruptError: it has another size.
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self._table.translated(f"key={key}"):
            found = self._table.get(key)
            if found is None:
                raise self._missing(key)
            self._check_size(key, items.size_of(found), size_bytes)
            wanted = items.ids_of(found)
            parts = {each["id"]["S"]: each["data"]["B"] for each in self._table.get_many(wanted)}
        if len(parts) != len(wanted):  # it is being deleted
            raise self._missing(key)
        return b"".join([bytes(found["data"]["B"]), *(bytes(parts[each]) for each in wanted)])

    def _missing(self, key: str) -> PayloadMissingError:
        return PayloadMissingError(
            f"payload missing [{self._table.place(f'key={key}')}]: released, expired, or never written"
        )

    def _check_size(self, key: str, found_bytes: int, size_bytes: int) -> None:
        if found_bytes != size_bytes:
            raise PayloadCorruptError(
                f"payload corrupt [{self._table.place(f'key={key}')}]: size {found_bytes} bytes, claimed "
                f"{size_bytes}; another writer changed it, or the claim was forged"
            )

    def delete(self, keys: Sequence[str]) -> Mapping[str, StoreError]:
        """Delete payloads. Safe to call twice: a missing key counts as deleted.

        Two calls for 25 payloads, and more for those of several items. First items go last: until then a call
        that broke off can be repeated.

        Raises:
            StoreDeniedError: DynamoDB denied a request; some payloads may be deleted.
            StoreUnavailableError: it did not answer; some payloads may be deleted.
        """
        unique = list(dict.fromkeys(keys))
        if not unique:
            return {}
        with self._table.translated(f"keys={unique[0]} and {len(unique) - 1} more"):
            found = list(self._table.get_many(unique, "id", "size", "digest"))
            self._table.delete_many([other for each in found for other in items.ids_of(each)])
            self._table.delete_many([each["id"]["S"] for each in found])
        return {}

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield objects whose key, after the store's prefix, begins with ``prefix``, in key order.

        Scans the whole table, since it has no order, and keeps what it finds in memory.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        full = f"{self.prefix}/{prefix}" if self.prefix else prefix
        with self._table.translated(f"prefix={full}"):
            yield from sorted(self._scan(full), key=lambda found: found.key)

    def _scan(self, prefix: str) -> Iterator[StoredObject]:
        names = {f"#{name}": name for name in items.ABOUT}
        condition = "attribute_exists(#size)"
        values = {}
        if prefix:
            condition += " AND begins_with(#id, :prefix)"
            values = {"ExpressionAttributeValues": {":prefix": {"S": prefix}}}
        pages = self._table.client.get_paginator("scan").paginate(
            TableName=self.table, ConsistentRead=True, ProjectionExpression=", ".join(names),
            FilterExpression=condition, ExpressionAttributeNames=names, **values,
        )  # fmt: skip
        for page in pages:
            yield from map(items.stored, page["Items"])

    def expires(self) -> bool:
        """Return whether the table deletes items by their TTL attribute.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self._table.translated("call=DescribeTimeToLive"):
            answer = self._table.client.describe_time_to_live(TableName=self.table)
        found = answer["TimeToLiveDescription"]
        is_on = found["TimeToLiveStatus"] in {"ENABLED", "ENABLING"}
        return is_on and found.get("AttributeName") == items.TTL_ATTRIBUTE

    def records(self) -> DynamoDBRecords:
        """Return the records of ``@idempotent``. Does no I/O."""
        return DynamoDBRecords(self._table, self.ttl_seconds)

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones. Safe to call twice."""
        self._table.close()

"""Records as items, changed by conditional writes."""

import secrets
from dataclasses import dataclass

from botocore.exceptions import ClientError

from pipeline.stores.aws.errors import code_of
from pipeline.stores.dynamodb import items
from pipeline.stores.dynamodb.error_table import CONDITION_FAILED
from pipeline.stores.dynamodb.table import Table


@dataclass(frozen=True, slots=True)
class DynamoDBRecords:
    """The records of a table. Safe to share between threads and after a fork.

    Args:
        table: the store's.
        ttl_seconds: after which DynamoDB may delete a record that was not written again.
    """

    table: Table
    ttl_seconds: int | None

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return a record's content and tag, or None if there is none: one GetItem.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        with self.table.translated(f"key={key}"):
            found = self.table.get(key)
        return (bytes(found["data"]["B"]), found["tag"]["S"]) if found else None

    def write(self, key: str, content: bytes, tag: str | None) -> str | None:
        """Write a record conditionally: one PutItem. Return its new tag; None if the condition failed.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        made = secrets.token_hex(8)
        item = {
            **items.key_of(key), **items.described(len(content)), **items.expiry(self.ttl_seconds),
            "data": {"B": content}, "tag": {"S": made},
        }  # fmt: skip
        return made if self._changes(key, tag, "put_item", Item=item) else None

    def remove(self, key: str, tag: str) -> bool:
        """Delete a record conditionally, and return whether the condition was met: one DeleteItem.

        Raises:
            StoreDeniedError, StoreUnavailableError: see the table of errors.
        """
        return self._changes(key, tag, "delete_item", Key=items.key_of(key))

    def _changes(self, key: str, tag: str | None, call: str, **arguments: object) -> bool:
        condition: dict[str, object] = {"ConditionExpression": "attribute_not_exists(id)"}
        if tag is not None:
            condition = {
                "ConditionExpression": "tag = :tag",
                "ExpressionAttributeValues": {":tag": {"S": tag}},
            }
        with self.table.translated(f"key={key}"):
            try:
                getattr(self.table.client, call)(TableName=self.table.name, **arguments, **condition)
            except ClientError as exc:
                if code_of(exc) == CONDITION_FAILED:
                    return False
                raise
        return True

"""One table of DynamoDB: its clients, its calls for many items, and what its errors mean."""

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from pipeline.aws.limits import DYNAMODB_WRITE_COUNT
from pipeline.errors import StoreUnavailableError
from pipeline.stores.aws.client import ClientPerProcess
from pipeline.stores.dynamodb.error_table import TABLE
from pipeline.stores.dynamodb.items import Item, key_of
from pipeline.stores.protocol import deadline

SHORT_TIMEOUT_SECONDS = 3.0
"""Timeout of the one attempt of a call whose deadline is this close."""

ATTEMPTS_COUNT = 6
"""How often a batch is sent although the table takes nothing of it; the caller retries longer outages."""

BACKOFF_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose only key is ``id``. Safe to share between threads, to use after a fork, and to pickle."""

    name: str
    region: str | None
    timeout_seconds: float
    _clients: ClientPerProcess = field(init=False, repr=False, compare=False)
    _short_timeout_clients: ClientPerProcess = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        clients = ClientPerProcess("dynamodb", self.region, self.timeout_seconds)
        short = ClientPerProcess("dynamodb", self.region, min(SHORT_TIMEOUT_SECONDS, self.timeout_seconds), 1)
        object.__setattr__(self, "_clients", clients)
        object.__setattr__(self, "_short_timeout_clients", short)

    @property
    def client(self) -> Any:
        """Boto3's client, whose timeout fits the deadline of the current call."""
        is_soon = deadline() - monotonic() <= SHORT_TIMEOUT_SECONDS
        return (self._short_timeout_clients if is_soon else self._clients).get()

    def translated(self, what: str) -> AbstractContextManager[None]:
        """Map boto3's errors in a ``with`` block to the library's; ``what`` names the object."""
        return TABLE.translated(self.place(what), self._clients.region_name)

    def place(self, what: str) -> str:
        """Return the object of a call as errors name it."""
        return f"table={self.name}, {what}"

    def get(self, key: str, *attributes: str) -> Item | None:
        """Return an item, or some of its attributes; ``None`` if it is not there."""
        chosen = _projection(attributes) if attributes else {}
        answer = self.client.get_item(TableName=self.name, Key=key_of(key), ConsistentRead=True, **chosen)
        found: Item | None = answer.get("Item")
        return found

    def get_many(self, ids: Sequence[str], *attributes: str) -> Iterator[Item]:
        """Yield those items that are there, in any order."""
        chosen = _projection(attributes) if attributes else {}
        for start in range(0, len(ids), DYNAMODB_WRITE_COUNT):
            keys = [key_of(each) for each in ids[start : start + DYNAMODB_WRITE_COUNT]]
            wanted = {self.name: {"Keys": keys, "ConsistentRead": True, **chosen}}
            for answer in self._repeated("batch_get_item", wanted, "UnprocessedKeys"):
                yield from answer["Responses"].get(self.name, [])

    def put_many(self, items: Sequence[Item]) -> None:
        """Write items, whatever is there."""
        self._write([{"PutRequest": {"Item": item}} for item in items])

    def delete_many(self, ids: Sequence[str]) -> None:
        """Delete items; those that are not there count as deleted."""
        self._write([{"DeleteRequest": {"Key": key_of(each)}} for each in ids])

    def _write(self, requests: list[Item]) -> None:
        for start in range(0, len(requests), DYNAMODB_WRITE_COUNT):
            wanted = {self.name: requests[start : start + DYNAMODB_WRITE_COUNT]}
            for _ in self._repeated("batch_write_item", wanted, "UnprocessedItems"):
                pass

    def _repeated(self, call: str, wanted: Any, left: str) -> Iterator[Any]:
        """Send a batch until the table has taken all of it: it leaves out what it has no capacity for.

        Source: DynamoDB API Reference, BatchWriteItem, BatchGetItem.
        """
        attempt = 0
        while attempt < ATTEMPTS_COUNT:
            answer = getattr(self.client, call)(RequestItems=wanted)
            yield answer
            before, wanted = wanted, answer.get(left)
            if not wanted:
                return
            attempt = 0 if len(str(wanted)) < len(str(before)) else attempt + 1
            sleep(random.uniform(0, BACKOFF_SECONDS * 2**attempt))  # noqa: S311 - no secret
        raise StoreUnavailableError(
            f"store unavailable [{self.place(f'call={call}')}]: the table has no capacity for all of it; "
            "try again later, or give it more"
        )

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones. Safe to call twice."""
        self._clients.close()
        self._short_timeout_clients.close()


def _projection(attributes: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that choose attributes, whose names may be reserved words."""
    names = {f"#{name}": name for name in attributes}
    return {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}

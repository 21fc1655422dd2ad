"""The store in DynamoDB keeps the rules of every store, and adds items that expire and parts of a payload."""

import json
import pickle
import time

import pytest
from store_rules import KIB, METADATA, MIB, Rules, payload_of

from pipeline.aws.limits import S3_KEY_LIMIT_BYTES
from pipeline.errors import PayloadMissingError, StoreDeniedError, StoreUnavailableError
from pipeline.stores.dynamodb.items import digest, key_of, rest_ids
from pipeline.stores.dynamodb.store import DynamoDBStore

pytestmark = pytest.mark.aws


def error(code):
    """Return DynamoDB's answer for an error."""
    return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}).encode()


def _second(operation):
    """Match every request of an operation but the first."""
    seen = []
    return lambda request: request.operation == operation and bool(seen.append(1) or len(seen) > 1)


class TestDynamoDB(Rules):
    """The store in DynamoDB, on each stand-in."""

    @pytest.fixture
    def store(self, aws):
        store = DynamoDBStore(aws.table(), "/app/", ttl_seconds=3_600)
        yield store
        store.close()

    def test_items_expire(self, aws, store):
        """Every item, of a payload's further parts too, has the time after which DynamoDB deletes it."""
        store.put("app/a", payload_of(500 * KIB), METADATA)

        items = aws.client("dynamodb").scan(TableName=store.table)["Items"]
        expires = [int(item["expires"]["N"]) for item in items]
        assert len(expires) == 2
        assert all(3_590 <= each - time.time() <= 3_600 for each in expires)

    def test_no_item_is_left(self, aws, store):
        """Deleting a payload deletes all of its items, and so does a put whose key is taken."""
        store.put("app/a", payload_of(2 * MIB), METADATA)
        with pytest.raises(StoreDeniedError):
            store.put("app/a", payload_of(MIB, seed=2), METADATA)
        store.delete(["app/a"])

        assert aws.client("dynamodb").scan(TableName=store.table)["Items"] == []

    def test_an_item_is_below_the_limit(self, store):
        """The first item, with the longest key and much metadata, fits DynamoDB's 400 KB."""
        key = "app/" + "k" * (S3_KEY_LIMIT_BYTES - 4)
        store.put(key, payload_of(MIB), {"task": "t" * 2_000})

        assert store.get(key, MIB) == payload_of(MIB)

    def test_a_payload_without_a_part_is_missing(self, store):
        """A payload whose other items are gone is being deleted: it is missing, not corrupt."""
        payload = payload_of(MIB)
        store.put("app/a", payload, METADATA)
        store._table.delete_many(rest_ids("app/a", MIB, digest(payload))[:1])

        with pytest.raises(PayloadMissingError):
            store.get("app/a", MIB)

    def test_a_delete_that_broke_off(self, aws, proxy, store):
        """A payload whose delete broke off is missing, and the next delete removes what is left."""
        store.put("app/a", payload_of(MIB), METADATA)
        proxy.fail(_second("BatchWriteItem"), status=400, content=error("AccessDeniedException"))
        with pytest.raises(StoreDeniedError):
            store.delete(["app/a"])
        with pytest.raises(PayloadMissingError):
            store.get("app/a", MIB)
        proxy.heal()
        store.delete(["app/a"])

        assert aws.client("dynamodb").scan(TableName=store.table)["Items"] == []

    def test_a_table_without_capacity(self, proxy, store):
        """A table without capacity is unavailable, and one that has some later is tried again."""
        throttled = error("ProvisionedThroughputExceededException")
        proxy.fail("PutItem", times=1, status=400, content=throttled)
        store.put("app/a", b"a", METADATA)
        proxy.fail("GetItem", status=400, content=throttled)

        with pytest.raises(StoreUnavailableError, match="ProvisionedThroughputExceeded"):
            store.get("app/a", 1)

    def test_a_table_that_takes_little_at_a_time(self, aws, proxy, store):
        """A batch is sent until the table has taken all of it, however often, if it takes some each time."""
        payload = payload_of(4 * MIB)
        store.put("app/a", payload, METADATA)
        left = [key_of(each) for each in rest_ids("app/a", 4 * MIB, digest(payload))]
        for count in range(len(left), 1, -1):
            answer = {"Responses": {}, "UnprocessedKeys": {store.table: {"Keys": left[:count]}}}
            proxy.fail("BatchGetItem", times=1, status=200, content=json.dumps(answer).encode())

        with pytest.raises(PayloadMissingError):
            store.get("app/a", 4 * MIB)
        assert proxy.operations["BatchGetItem"] == len(left)

    def test_a_copy_by_pickle(self, store):
        """A store survives pickling, with a client of its own."""
        store.put("app/a", b"a", METADATA)
        copy = pickle.loads(pickle.dumps(store))

        assert copy == store
        assert copy.get("app/a", 1) == b"a"
        copy.close()

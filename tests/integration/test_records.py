"""Records of calls, that each store keeps: made, replaced and removed on condition."""

import json
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import StoreDeniedError, StoreUnavailableError
from pipeline.stores.dynamodb.items import rest
from pipeline.stores.dynamodb.store import DynamoDBStore
from pipeline.stores.file.store import FileStore
from pipeline.stores.memory import MemoryStore
from pipeline.stores.s3.store import S3Store

pytestmark = pytest.mark.aws


class Rules:
    """What the records of every store do."""

    def test_a_record_is_made_once(self, records):
        """A record is made if there is none, and comes back with its tag."""
        tag = records.write("app/once/v1/a", b"1", None)

        assert tag
        assert records.read("app/once/v1/a") == (b"1", tag)
        assert records.write("app/once/v1/a", b"2", None) is None
        assert records.read("app/once/v1/a") == (b"1", tag)

    def test_a_record_is_replaced_by_who_has_read_it(self, records):
        """A record is written over with its newest tag, and with no other."""
        first = records.write("app/once/v1/a", b"1", None)
        second = records.write("app/once/v1/a", b"2", first)

        assert second not in {None, first}
        assert records.write("app/once/v1/a", b"3", first) is None
        assert records.read("app/once/v1/a") == (b"2", second)

    def test_a_record_is_removed_by_who_has_read_it(self, records):
        """A record is removed with its newest tag, and may be made again."""
        first = records.write("app/once/v1/a", b"1", None)
        second = records.write("app/once/v1/a", b"2", first)

        assert records.remove("app/once/v1/a", first) is False
        assert records.remove("app/once/v1/a", second) is True
        assert records.remove("app/once/v1/a", second) is False
        assert records.read("app/once/v1/a") is None
        assert records.write("app/once/v1/a", b"3", second) is None
        assert records.write("app/once/v1/a", b"3", None)

    def test_one_of_many_makes_a_record(self, records):
        """One of several concurrent writers creates a record."""
        assert winners(lambda number: records.write("app/once/v1/a", b"%d" % number, None)) == 1

    def test_one_of_many_takes_a_record_over(self, records):
        """One of several concurrent writers replaces a record."""
        tag = records.write("app/once/v1/a", b"0", None)

        assert winners(lambda number: records.write("app/once/v1/a", b"new %d" % number, tag)) == 1

    def test_records_lie_beside_payloads(self, store, records):
        """A listing shows records, and a delete of the store removes them."""
        tag = records.write("app/once/v1/a", b"12345", None)

        assert [(found.key, found.size_bytes) for found in store.list()] == [("app/once/v1/a", 5)]
        assert list(store.delete(["app/once/v1/a"])) == []
        assert records.read("app/once/v1/a") is None
        assert records.write("app/once/v1/a", b"6", tag) is None

    @pytest.fixture
    def records(self, store):
        return store.records()


def winners(write):
    """Return for how many of eight threads a write succeeds."""
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        return write(number) is not None

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(work, range(8)))


class TestMemory(Rules):
    @pytest.fixture
    def store(self):
        return MemoryStore("app")


class TestFile(Rules):
    @pytest.fixture
    def store(self, tmp_path):
        return FileStore(tmp_path / "payloads", "app")

    def test_records_cannot_lead_out(self, records):
        """A key that leads out of the directory raises."""
        with pytest.raises(StoreDeniedError, match="rejected this key"):
            records.write("../outside", b"1", None)


class TestDynamoDB(Rules):
    @pytest.fixture
    def store(self, aws):
        return DynamoDBStore(aws.table(), "app")

    def test_a_missing_table_is_an_error(self, store, aws):
        """What is not a condition that failed is one of our errors, which names the table."""
        aws.client("dynamodb").delete_table(TableName=store.table)

        for verb in (
            lambda: store.records().read("a"),
            lambda: store.records().write("a", b"1", None),
            lambda: store.records().remove("a", "tag"),
            lambda: store.put("a", b"1", {}),
            lambda: store.get("a", 1),
            lambda: store.delete(["a"]),
            lambda: list(store.list()),
        ):
            with pytest.raises(StoreDeniedError, match=f"table does not exist .table={store.table}"):
                verb()

    def test_a_throttled_table_is_tried_again(self, store, proxy):
        """What a table leaves out of a batch is sent again, and is unavailable at last."""
        [item] = rest("app/a", bytes(500_000))
        item["data"]["B"] = b64encode(item["data"]["B"]).decode()
        left = {store.table: [{"PutRequest": {"Item": item}}]}
        answer = json.dumps({"UnprocessedItems": left}).encode()
        proxy.fail("BatchWriteItem", status=200, content=answer, times=1)
        store.put("app/a", bytes(500_000), {})
        assert store.get("app/a", 500_000) == bytes(500_000)

        proxy.fail("BatchWriteItem", status=200, content=answer, times=10)
        with pytest.raises(StoreUnavailableError, match="no capacity"):
            store.put("app/b", bytes(500_000), {})


class TestS3(Rules):
    @pytest.fixture
    def store(self, aws):
        return S3Store(aws.bucket(), "app")

    def test_a_missing_bucket_is_an_error(self, store, aws):
        """An error that is no failed condition becomes one of our errors."""
        aws.client("s3").delete_bucket(Bucket=store.bucket)

        for verb in (
            lambda: store.records().read("a"),
            lambda: store.records().write("a", b"1", None),
            lambda: store.records().remove("a", '"tag"'),
        ):
            with pytest.raises(StoreDeniedError, match="bucket does not exist"):
                verb()

    def test_a_conflict_is_tried_again(self, store, proxy):
        """A write that gets S3's 409 for concurrent writers is tried again."""
        answer = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
        proxy.fail("PutObject", status=409, content=answer)

        with pytest.raises(StoreUnavailableError, match="ConditionalRequestConflict"):
            store.records().write("app/once/v1/a", b"1", None)

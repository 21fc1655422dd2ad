"""One suite over every store, and what S3 adds to it."""

import errno
import os
import pickle
import random
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.aws.limits import S3_KEY_LIMIT_BYTES
from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.aws.client import ClientPerProcess
from pipeline.stores.dynamodb.items import digest, rest_ids
from pipeline.stores.dynamodb.store import DynamoDBStore
from pipeline.stores.file.store import FileStore
from pipeline.stores.file.store import _translated as file_errors
from pipeline.stores.memory import MemoryStore
from pipeline.stores.s3.store import S3Store
from pipeline.testing import CountingStore, FaultyStore

PART = 5 * 1024**2
"""S3's smallest part."""
KIB, MIB = 1024, 1024**2
SIZES = [0, 1, 300 * KIB, 8 * MIB, 8 * MIB + 1, 17 * MIB, 40 * MIB]
METADATA = {"task": "reports.month", "task-id": "6d3f"}


def payload_of(size_bytes, seed=1):
    return random.Random(seed).randbytes(size_bytes)


def in_child(work):
    """Run ``work`` in a forked child, and say whether it went well."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - nothing may leave the child but its exit code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _end(upload, data, *, is_whole):
    if is_whole:
        return upload.whole(data)
    upload.part(1, 0, data)
    return upload.complete()


class Rules:
    """What every store does; each class below brings a ``store`` whose prefix is ``app``."""

    @pytest.mark.parametrize("size_bytes", SIZES)
    def test_round_trip(self, store, size_bytes):
        """What was put comes back, as bytes, whatever its size."""
        payload = payload_of(size_bytes)
        store.put("app/v1/a", payload, METADATA)

        found = store.get("app/v1/a", size_bytes)

        assert type(found) is bytes
        assert found == payload

    @pytest.mark.parametrize("size_bytes", [0, 300 * KIB, 17 * MIB])
    def test_never_overwrites(self, store, size_bytes):
        """A key that holds one payload never takes another, of the same size or not."""
        payload = payload_of(size_bytes)
        store.put("app/a", payload, METADATA)

        for other in (payload_of(size_bytes, seed=2) or b"2", payload + b"1"):
            with pytest.raises(StoreDeniedError, match=r"does not overwrite.*app/a"):
                store.put("app/a", other, METADATA)
        assert store.get("app/a", size_bytes) == payload

    def test_one_of_many_wins(self, store):
        """Of several who put under one key at once, one succeeds, and its payload is what lies there."""
        barrier = threading.Barrier(8)

        def work(number):
            barrier.wait()
            try:
                store.put("app/a", b"%d" % number, METADATA)
            except StoreDeniedError:
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            (winner,) = [number for number in pool.map(work, range(8)) if number is not None]
        assert store.get("app/a", 1) == b"%d" % winner

    @pytest.mark.parametrize("size_bytes", [0, 1, 17 * MIB])
    def test_same_put_twice(self, store, size_bytes):
        """Putting the same payload under the same key again succeeds and changes nothing."""
        payload = payload_of(size_bytes)
        store.put("app/a", payload, METADATA)
        store.put("app/a", payload, METADATA)

        assert store.get("app/a", size_bytes) == payload
        assert [found.size_bytes for found in store.list()] == [size_bytes]

    @pytest.mark.parametrize("size_bytes", [0, 1, 300 * KIB, 9 * MIB])
    @pytest.mark.parametrize("difference_bytes", [-1, 1, 20 * MIB])
    def test_wrong_size(self, store, size_bytes, difference_bytes):
        """An object of another size than expected is corrupt, and the error names key and both sizes."""
        expected = max(size_bytes + difference_bytes, 0)
        if expected == size_bytes:
            return
        store.put("app/a", payload_of(size_bytes), METADATA)

        with pytest.raises(PayloadCorruptError, match=rf"app/a.* ({size_bytes}|fewer) bytes.*{expected}"):
            store.get("app/a", expected)

    @pytest.mark.parametrize("size_bytes", [0, 1, 20 * MIB])
    def test_missing(self, store, size_bytes):
        """A key that holds nothing is missing, whatever size is expected of it."""
        with pytest.raises(PayloadMissingError, match="app/never") as caught:
            store.get("app/never", size_bytes)

        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_delete_is_idempotent(self, store):
        """Deleting removes what is there, and succeeds for what is not."""
        store.put("app/a", b"a", METADATA)
        store.put("app/b", b"b", METADATA)

        assert list(store.delete(["app/a", "app/never"])) == []
        assert list(store.delete(["app/a"])) == []
        assert list(store.delete([])) == []
        with pytest.raises(PayloadMissingError):
            store.get("app/a", 1)
        assert store.get("app/b", 1) == b"b"

    def test_a_deleted_key_is_new_again(self, store):
        """Once deleted, a key can be put again."""
        store.put("app/a", b"one", METADATA)
        store.delete(["app/a"])
        store.put("app/a", b"two", METADATA)

        assert store.get("app/a", 3) == b"two"

    def test_more_than_a_page(self, store):
        """Fifteen hundred objects are listed in key order and deleted in one call."""
        keys = [f"app/{number:04}" for number in range(1_500)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: store.put(key, b"x", {}), reversed(keys)))

        assert [found.key for found in store.list()] == keys
        assert list(store.delete(keys)) == []
        assert list(store.list()) == []

    def test_parts_become_one_object(self, store):
        """Parts that are sent in any order, and repeated, are one object once the upload is complete."""
        payload, upload = payload_of(2 * PART + 1), store.upload("app/parts", {"task": "t"}, "text/csv")
        for number in (3, 1, 2, 2):
            start = (number - 1) * PART
            upload.part(number, start, payload[start : start + PART])
        assert list(store.list()) == []
        etag = upload.complete()

        head = store.head("app/parts")
        assert store.get("app/parts", len(payload)) == payload
        assert (head.size_bytes, head.etag) == (len(payload), etag)
        assert head.media_type in {None, "text/csv"}
        assert abs(datetime.now(UTC) - head.modified) < timedelta(minutes=1)

    @pytest.mark.parametrize("is_whole", [True, False])
    def test_an_upload_never_overwrites(self, store, is_whole):
        """An upload to a key that another object has fails, and leaves that object alone."""
        store.put("app/a", b"before", METADATA)
        upload = store.upload("app/a", {})

        with pytest.raises(StoreDeniedError, match=r"does not overwrite.*app/a"):
            _end(upload, b"after", is_whole=is_whole)
        upload.abort()
        assert store.get("app/a", 6) == b"before"

    @pytest.mark.parametrize("parts", [0, 2])
    def test_nothing_is_left_of_an_aborted_upload(self, store, parts):
        """An upload can be aborted at any time, and twice."""
        upload = store.upload("app/a", {})
        for number in range(parts):
            upload.part(number + 1, number * PART, payload_of(PART))
        upload.abort()
        upload.abort()

        assert list(store.list()) == []
        with pytest.raises(PayloadMissingError):
            store.head("app/a")

    @pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 100), (7, 8), (50, 100)])
    def test_ranges(self, store, start, stop):
        """A range is the bytes from its start up to its stop."""
        payload = payload_of(100)
        store.put("app/a", payload, METADATA)

        assert store.get_range("app/a", start, stop) == payload[start:stop]
        assert store.get_range("app/a", start, stop, etag=store.head("app/a").etag) == payload[start:stop]

    @pytest.mark.parametrize(("start", "stop"), [(100, 101), (90, 101), (0, 101)])
    def test_a_range_that_is_not_there(self, store, start, stop):
        """A range beyond the end is corrupt: the object is not what its reader was told."""
        store.put("app/a", payload_of(100), METADATA)

        with pytest.raises(PayloadCorruptError, match="app/a"):
            store.get_range("app/a", start, stop)

    def test_ranges_of_one_content(self, store):
        """With an ETag, no range of another content is returned."""
        store.put("app/a", b"before", METADATA)
        etag = store.head("app/a").etag
        store.delete(["app/a"])
        store.put("app/a", b"after!", METADATA)

        with pytest.raises(PayloadCorruptError, match="app/a"):
            store.get_range("app/a", 0, 3, etag=etag)
        with pytest.raises(PayloadMissingError, match="app/b"):
            store.get_range("app/b", 0, 3)

    def test_list_is_in_key_order(self, store):
        """Objects are listed in the order of their full keys, not directory by directory."""
        keys = ["app/B", "app/a-b", "app/a/b", "app/a/c/d", "app/a0", "app/b"]
        for key in reversed(keys):
            store.put(key, b"x", METADATA)

        assert [found.key for found in store.list()] == keys

    def test_list_stays_below_the_prefix(self, store):
        """A listing shows what goes on from the store's prefix, and nothing of a neighbour."""
        for key in ("app/v1/2026/a", "app/v1/2027/a", "app/v10", "app2/v1/2026/a", "ap"):
            store.put(key, b"x", METADATA)

        assert [found.key for found in store.list()] == ["app/v1/2026/a", "app/v1/2027/a", "app/v10"]
        assert [found.key for found in store.list("v1/2026")] == ["app/v1/2026/a"]
        assert [found.key for found in store.list("v1/2026/a")] == ["app/v1/2026/a"]
        assert list(store.list("v1/2026/a/")) == []

    def test_list_tells_size_and_time(self, store):
        """A listed object has its size and the time of its writing, in UTC."""
        store.put("app/a", bytes(300), METADATA)

        (found,) = store.list()
        assert (found.key, found.size_bytes) == ("app/a", 300)
        assert found.modified.utcoffset() == timedelta()
        assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)

    def test_threads_share_a_store(self, store):
        """Threads that all make the first call at once each get their own payload back."""
        barrier = threading.Barrier(8)

        def work(number):
            payload = payload_of(100 * KIB + number, seed=number)
            barrier.wait()
            store.put(f"app/{number}", payload, METADATA)
            return store.get(f"app/{number}", len(payload)) == payload

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_a_child_uses_what_its_parent_used(self, store):
        """A forked child reads and writes through the store, and its parent goes on undisturbed."""
        payload = payload_of(9 * MIB)
        store.put("app/parent", payload, METADATA)

        def work():
            assert store.get("app/parent", len(payload)) == payload
            store.put("app/child", b"child", METADATA)
            assert store.get("app/child", 5) == b"child"
            assert len(list(store.list())) == 2

        assert in_child(work)
        assert store.get("app/parent", len(payload)) == payload

    def test_prefix_has_no_slashes_around_it(self, store):
        """The prefix is plain, so that everybody joins keys in the same way."""
        assert store.prefix == "app"


class TestMemory(Rules):
    """The store in memory."""

    @pytest.fixture
    def store(self):
        return MemoryStore("/app/")


class TestFile(Rules):
    """The store in a directory."""

    @pytest.fixture
    def store(self, tmp_path):
        return FileStore(tmp_path / "payloads", "/app/")

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../a", "app/../../a", "app/./a", "app//a", "a\0b", "app/", ".incoming/a"]
    )
    def test_no_key_leads_out(self, store, key):
        """A key that is no plain path below the directory is refused by every verb."""
        with pytest.raises(StoreDeniedError, match="rejected this key"):
            store.put(key, b"x", METADATA)
        with pytest.raises(StoreDeniedError, match="rejected this key"):
            store.get(key, 1)
        assert list(store.delete([key])) == [key]

    def test_no_link_leads_out(self, store, tmp_path):
        """A symbolic link in the directory is not followed out of it, nor listed."""
        store.put("app/a", b"x", METADATA)
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "payloads" / "app" / "out").symlink_to(tmp_path)

        with pytest.raises(StoreDeniedError, match="rejected this key"):
            store.get("app/out/secret", 6)
        assert [found.key for found in store.list()] == ["app/a"]

    def test_a_directory_is_no_payload(self, store):
        """A key that ends at a directory, or goes on past a payload, is missing; and cannot be put."""
        store.put("app/a/b", b"x", METADATA)

        for key in ("app/a", "app/a/b/c"):
            with pytest.raises(PayloadMissingError):
                store.get(key, 1)
            with pytest.raises(StoreDeniedError):
                store.put(key, b"x", METADATA)
            assert store.delete([key]) == {}

    def test_a_failed_put_leaves_nothing(self, store, tmp_path):
        """What could not be linked to its key is removed."""
        store.put("app/a", b"x", METADATA)
        with pytest.raises(StoreDeniedError):
            store.put("app/a", b"y", METADATA)

        assert list((tmp_path / "payloads" / ".incoming").iterdir()) == []

    @pytest.mark.parametrize(
        ("number", "error"),
        [
            (errno.ENOSPC, StoreUnavailableError),
            (errno.EIO, StoreUnavailableError),
            (errno.EMFILE, StoreUnavailableError),
            (errno.EACCES, StoreDeniedError),
            (errno.EROFS, StoreDeniedError),
            (errno.ENAMETOOLONG, StoreDeniedError),
        ],
    )
    def test_what_the_file_system_says(self, number, error):
        """A full or broken disk may mend, and is retryable; a permission will not, and is not."""
        with pytest.raises(error, match=r"\[key=app/a\]: .* \(/x\); ") as caught, file_errors("app/a"):
            raise OSError(number, os.strerror(number), "/x")

        assert isinstance(caught.value.__cause__, OSError)

    def test_a_directory_that_cannot_be(self, tmp_path):
        """A directory that cannot be made is found out at the first put."""
        (tmp_path / "taken").write_bytes(b"")

        with pytest.raises(StoreDeniedError, match=r"app/a.*taken"):
            FileStore(tmp_path / "taken").put("app/a", b"x", METADATA)

    def test_list_passes_over_what_goes(self, store):
        """A payload that is deleted while it is listed is not shown, and stops nothing."""
        for key in ("app/a", "app/b", "app/c"):
            store.put(key, b"x", METADATA)

        found = store.list()
        assert next(found).key == "app/a"
        store.delete(["app/b"])
        assert [each.key for each in found] == ["app/c"]

    def test_empty_directory(self, tmp_path):
        """A directory that nobody has made yet holds nothing."""
        assert list(FileStore(tmp_path / "none").list()) == []


class TestCounting(Rules):
    """The double that counts, which is a store as well."""

    @pytest.fixture
    def store(self):
        return CountingStore(MemoryStore("app"))

    def test_what_is_counted(self, store):
        """Calls are counted by verb, failed ones too, and bytes where there are any."""
        store.put("app/a", b"abc", METADATA)
        store.get("app/a", 3)
        with pytest.raises(PayloadMissingError):
            store.get("app/b", 4)
        store.delete(["app/a", "app/b"])
        list(store.list())

        assert store.calls == {"put": 1, "get": 2, "delete": 1, "list": 1}
        assert store.payload_bytes == {"put": 3, "get": 7}


class TestFaulty(Rules):
    """The double that fails on order, which is a store as well once it has."""

    @pytest.fixture
    def store(self):
        return FaultyStore(MemoryStore("app"), fail=[])

    def test_each_verb_fails_by_itself(self):
        """Every verb raises the errors in order, None lets a call through, and so does the end."""
        down, denied = StoreUnavailableError("down"), StoreDeniedError("denied")
        store = FaultyStore(MemoryStore(), fail=[down, None, denied])
        calls = [
            lambda: store.put("a", b"a", {}),
            lambda: store.get("a", 1),
            lambda: store.delete([]),
            lambda: list(store.list()),
        ]

        for call in calls:
            with pytest.raises(StoreUnavailableError, match="down"):
                call()
            call()
            with pytest.raises(StoreDeniedError, match="denied"):
                call()
            call()

    def test_some_verbs_fail(self):
        """Only the verbs that are named fail, and a wrong name is refused."""
        store = FaultyStore(MemoryStore(), fail=[StoreUnavailableError("down")], verbs=["get"])
        store.put("a", b"a", {})

        with pytest.raises(StoreUnavailableError):
            store.get("a", 1)
        with pytest.raises(ValueError, match=r"verbs=\['fetch'\]"):
            FaultyStore(MemoryStore(), fail=[], verbs=["fetch"])

    def test_failing_after_the_act(self):
        """An answer can be lost: the store has acted, and the caller sees an error."""
        store = FaultyStore(MemoryStore(), fail=[StoreUnavailableError("lost")], after=True)
        with pytest.raises(StoreUnavailableError):
            store.put("a", b"a", {})
        assert store.store.get("a", 1) == b"a"

        with pytest.raises(StoreUnavailableError):
            store.delete(["a"])
        assert list(store.store.list()) == []


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

    def test_a_copy_by_pickle(self, store):
        """A store survives pickling, with a client of its own."""
        store.put("app/a", b"a", METADATA)
        copy = pickle.loads(pickle.dumps(store))

        assert copy == store
        assert copy.get("app/a", 1) == b"a"
        copy.close()


class TestS3(Rules):
    """The store in S3, on each stand-in."""

    @pytest.fixture
    def store(self, aws):
        store = S3Store(aws.bucket(), "/app/")
        yield store
        store.close()

    @pytest.mark.parametrize(
        ("size_bytes", "puts", "gets"),
        [
            (300 * KIB, {"PutObject": 1}, {"GetObject": 1}),
            (8 * MIB, {"PutObject": 1}, {"GetObject": 1}),
            (
                40 * MIB,
                {"CreateMultipartUpload": 1, "UploadPart": 5, "CompleteMultipartUpload": 1},
                {"GetObject": 5},
            ),
        ],
    )
    def test_requests(self, store, size_bytes, puts, gets):
        """A small payload costs one request each way; a large one a request for each 8 MiB, and two."""
        sent, payload = Counter(), payload_of(size_bytes)
        events = store._clients.get().meta.events
        events.register("before-send.s3", lambda event_name, **_: sent.update([event_name.split(".")[-1]]))

        store.put("app/a", payload, METADATA)
        assert sent == puts
        sent.clear()
        store.get("app/a", size_bytes)
        assert sent == gets

    def test_metadata_lies_beside_the_payload(self, aws, store):
        """The caller's metadata and a digest are stored with the object, for people and for put."""
        store.put("app/a", b"abc", METADATA)

        head = aws.client("s3").head_object(Bucket=store.bucket, Key="app/a")
        assert head["Metadata"].pop("digest").startswith("blake3:6437b3ac")
        assert head["Metadata"] == METADATA

    @pytest.mark.parametrize("size_bytes", [1, 17 * MIB])
    def test_encryption(self, aws, size_bytes):
        """Server-side encryption is asked for, in one request or many."""
        bucket = aws.bucket()
        store = S3Store(bucket, server_side_encryption="AES256")
        store.put("a", payload_of(size_bytes), METADATA)
        store.close()

        assert aws.client("s3").head_object(Bucket=bucket, Key="a")["ServerSideEncryption"] == "AES256"

    def test_without_checksums(self, monkeypatch, store):
        """Where boto3 is told to send no checksums, parts go without them."""
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        payload = payload_of(17 * MIB)
        store.put("app/a", payload, METADATA)

        assert store.get("app/a", len(payload)) == payload

    def test_a_copy_by_pickle(self, store):
        """A store survives pickling, with a client of its own."""
        store.put("app/a", b"a", METADATA)
        copy = pickle.loads(pickle.dumps(store))

        assert copy == store
        assert copy.get("app/a", 1) == b"a"
        copy.close()

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
    def test_neither_client_nor_lock_is_inherited(self, store):
        """A child makes a client of its own, although a thread of its parent was making one at the fork."""
        store.put("app/a", b"a", METADATA)
        client, (lock,) = store._clients.get(), store._clients._locks.values()

        def work():
            assert store.get("app/a", 1) == b"a"
            assert store._clients.get() is not client

        with lock:
            assert in_child(work)

    def test_one_client(self, store):
        """A process makes one client, and another one only once that is closed."""
        client = store._clients.get()

        assert store._clients.get() is client
        store.close()
        store.close()
        assert store._clients.get() is not client

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"bucket": ""}, "bucket is empty"),
            ({"bucket": "b", "timeout_seconds": 0}, "timeout_seconds=0"),
            ({"bucket": "b", "kms_key_id": "k"}, "kms_key_id"),
            ({"bucket": "b", "kms_key_id": "k", "server_side_encryption": "AES256"}, "kms_key_id"),
        ],
    )
    def test_wrong_arguments(self, arguments, words):
        """Arguments that cannot work are refused when the store is made."""
        with pytest.raises(ValueError, match=words):
            S3Store(**arguments)

    def test_no_client_before_it_is_needed(self):
        """Making a store makes no client, and closing it is no reason to make one."""
        clients = ClientPerProcess("s3", "eu-west-1", 1.0)
        clients.close()

        assert clients.region_name() == "eu-west-1"
        assert clients._clients == {}

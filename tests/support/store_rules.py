"""The rules that every store keeps, as one suite of tests."""

import os
import pickle
import random
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    StoreDeniedError,
)

PART = 5 * 1024**2
"""S3's smallest part."""
KIB, MIB = 1024, 1024**2
SIZES = [0, 1, 300 * KIB, 8 * MIB, 8 * MIB + 1, 17 * MIB, 40 * MIB]
METADATA = {"task": "reports.month", "task-id": "6d3f"}


def payload_of(size_bytes, seed=1):
    return random.Random(seed).randbytes(size_bytes)


def in_child(work):
    """Run ``work`` in a forked child, and return whether it succeeded."""
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
        """One of several concurrent puts of one key succeeds, and its payload is stored."""
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


class RangeRules(Rules):
    """What every store does that has parts and ranges: handles need them."""

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
        """A range beyond the end is corrupt: the object is not the one that its reader expects."""
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

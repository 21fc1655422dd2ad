"""The store in S3 keeps the rules of every store, on each stand-in."""

import pickle
from collections import Counter

import pytest
from store_rules import KIB, METADATA, MIB, RangeRules, in_child, payload_of

from pipeline.claimcheck.memory import consumed, is_paged, read_whole
from pipeline.stores.aws.client import ClientPerProcess
from pipeline.stores.s3.store import S3Store


class TestS3(RangeRules):
    """The store in S3, on each stand-in."""

    @pytest.fixture
    def store(self, aws):
        store = S3Store(aws.bucket(), "/app/", payload_client="boto3")
        yield store
        store.close()

    @pytest.mark.parametrize(
        ("size_bytes", "puts", "gets"),
        [
            (300 * KIB, {"PutObject": 1}, {"GetObject": 1}),
            (3 * MIB, {"PutObject": 1}, {"GetObject": 1}),
            (9 * MIB, {"PutObject": 1}, {"GetObject": 4}),
            (
                40 * MIB,
                {"CreateMultipartUpload": 1, "UploadPart": 5, "CompleteMultipartUpload": 1},
                {"GetObject": 8},
            ),
        ],
    )
    def test_requests(self, store, size_bytes, puts, gets):
        """A small payload costs one request each way; a large one more, which run side by side."""
        sent, payload = Counter(), payload_of(size_bytes)
        events = store._clients.get().meta.events
        events.register("before-send.s3", lambda event_name, **_: sent.update([event_name.split(".")[-1]]))

        store.put("app/a", payload, METADATA)
        assert sent == puts
        sent.clear()
        store.get("app/a", size_bytes)
        assert sent == gets

    def test_a_large_payload_is_read_into_memory_that_can_be_given_back(self, store):
        """The bytes of a large payload arrive in pages, which whoever reads them gives back as he goes."""
        payload = payload_of(9 * MIB)
        store.put("app/a", payload, METADATA)

        found = read_whole(store, "app/a", 9 * MIB)

        assert is_paged(found)
        assert b"".join(map(bytes, consumed(found))) == payload
        assert bytes(found[: 8 * MIB]) == bytes(8 * MIB)

    def test_metadata_is_stored_with_the_payload(self, aws, store):
        """The caller's metadata and a digest are stored with the object."""
        store.put("app/a", b"abc", METADATA)

        head = aws.client("s3").head_object(Bucket=store.bucket, Key="app/a")
        assert head["Metadata"].pop("digest").startswith("blake3:6437b3ac")
        assert head["Metadata"] == METADATA

    @pytest.mark.parametrize("size_bytes", [1, 17 * MIB])
    def test_encryption(self, aws, size_bytes):
        """Server-side encryption is requested for single and multipart uploads."""
        bucket = aws.bucket()
        store = S3Store(bucket, server_side_encryption="AES256")
        store.put("a", payload_of(size_bytes), METADATA)
        store.close()

        assert aws.client("s3").head_object(Bucket=bucket, Key="a")["ServerSideEncryption"] == "AES256"

    def test_without_checksums(self, monkeypatch, store):
        """Multipart uploads work with boto3's checksums switched off."""
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
        """``S3Store`` raises for arguments that cannot work."""
        with pytest.raises(ValueError, match=words):
            S3Store(**arguments)

    def test_prepared(self, aws, proxy):
        """A store makes its clients, and sends no request, before its first transfer."""
        store = S3Store(aws.bucket(), "app")
        before = proxy.operations
        store.prepare()

        assert store._clients._clients
        assert proxy.operations == before
        store.close()

    @pytest.mark.parametrize("url", ["no-scheme", "http://user:secret@host"])
    def test_what_cannot_be_prepared(self, monkeypatch, url):
        """Wrong configuration is an error of the first transfer, and not of whoever prepares the store."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)

        S3Store("bucket").prepare()

    def test_no_client_before_it_is_needed(self):
        """Making a store makes no client, and closing it is no reason to make one."""
        clients = ClientPerProcess("s3", "eu-west-1", 1.0)
        clients.close()

        assert clients.region_name() == "eu-west-1"
        assert clients._clients == {}

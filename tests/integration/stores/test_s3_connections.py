"""Reads and writes of S3 survive broken connections, or fail with a retryable error."""

import random
import time

import pytest
from s3_answers import KIB, MIB, xml

from benchmarks.proxy.link import passed
from benchmarks.proxy.messages import Head
from pipeline.errors import (
    PayloadCorruptError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.s3.reading import READS_COUNT
from pipeline.stores.s3.store import S3Store

pytestmark = pytest.mark.usefixtures("_no_view_left")


@pytest.fixture
def store(aws, proxy):
    """A store behind a proxy, on each stand-in."""
    store = S3Store(aws.bucket(), "app", timeout_seconds=5, payload_client="boto3")
    yield store
    store.close()


def deaf_to_ranges(link, request, content):
    """Forward a request without its range, as if the server did not know what that is."""
    head = link.head
    link.head = Head([head.start, *(line for line in head.lines if b"range:" not in line.lower())])
    return passed(link, request, content)


def stall(link, request, content):
    """Send half of an answer, and then nothing."""
    with link.forwarded(request, content) as answer:
        for piece in answer.half():
            link.client.sendall(piece)
        time.sleep(2)
    return False


def payload_of(size_bytes):
    return random.Random(size_bytes).randbytes(size_bytes)


@pytest.mark.parametrize("size_bytes", [300 * KIB, 17 * MIB])
def test_a_single_503(proxy, store, size_bytes):
    """One 503 or one reset on each call is retried without an error."""
    payload = payload_of(size_bytes)
    rules = []
    for operation in ("PutObject" if size_bytes < MIB else "UploadPart", "GetObject"):
        rules += [proxy.fail(operation, 503, times=1), proxy.reset(operation, times=1)]

    store.put("app/a", payload, {})
    assert store.get("app/a", size_bytes) == payload
    assert [rule.used for rule in rules] == [1] * 4


@pytest.mark.parametrize("verb", ["reset", "truncate"])
def test_a_broken_body_resumes(proxy, store, verb):
    """A connection that breaks in a body is taken up at the byte it had reached, of the same object."""
    payload = payload_of(300 * KIB)
    store.put("app/a", payload, {})
    getattr(proxy, verb)("GetObject", times=2)

    assert store.get("app/a", len(payload)) == payload
    first, *resumed = [request.headers for request in proxy.seen("GetObject")]
    assert "range" not in first
    assert len(resumed) == 2
    assert all(each["if-match"] for each in resumed)
    if verb == "truncate":
        assert [each["range"] for each in resumed] == ["bytes=153600-307199", "bytes=230400-307199"]


def test_a_stalled_body_resumes(aws, proxy):
    """A stalled body is read on after ``timeout_seconds``."""
    store, payload = S3Store(aws.bucket(), timeout_seconds=1, payload_client="boto3"), payload_of(3 * MIB)
    store.put("a", payload, {})
    proxy._order("stall", "GetObject", 1, stall)

    assert store.get("a", len(payload)) == payload
    assert proxy.seen("GetObject")[-1].headers["range"] == "bytes=1048576-3145727"
    store.close()


def test_broken_ranges_resume(proxy, store):
    """Ranges that break still make one payload."""
    payload = payload_of(40 * MIB)
    store.put("app/a", payload, {})
    proxy.truncate("GetObject", times=3)
    proxy.reset("GetObject", times=2)

    assert store.get("app/a", len(payload)) == payload
    assert proxy.operations["GetObject"] == 13


def test_a_body_that_breaks_for_ever(proxy, store):
    """A body that breaks again and again is unavailable, after a bounded number of requests."""
    store.put("app/a", payload_of(300 * KIB), {})
    proxy.truncate("GetObject")

    with pytest.raises(StoreUnavailableError, match=r"5 connections broke, the last at byte \d+ of 307200"):
        store.get("app/a", 300 * KIB)
    assert proxy.operations["GetObject"] == READS_COUNT


def test_an_object_that_changes_while_it_is_read(aws, proxy, store):
    """A second half is never read from another object than the first."""
    store.put("app/a", payload_of(300 * KIB), {})

    def overwritten(request):
        if "range" in request.headers:
            aws.client("s3").put_object(Bucket=store.bucket, Key="app/a", Body=bytes(300 * KIB))
        return False

    proxy.truncate("GetObject", times=1)
    proxy.delay(0, overwritten)

    with pytest.raises(PayloadCorruptError, match="another writer changed this object"):
        store.get("app/a", 300 * KIB)


def test_a_server_without_ranges(proxy, store):
    """A server that answers a range with the whole object is understood, also when it breaks off."""
    payload = payload_of(20 * MIB)
    store.put("app/a", payload, {})
    proxy.truncate("GetObject", times=1)
    proxy._order("deaf", "GetObject", None, deaf_to_ranges)

    assert store.get("app/a", len(payload)) == payload


def test_a_wrong_object_is_not_downloaded(store):
    """A size that differs is seen before the body is read, and the connection is given up."""
    store.put("app/a", bytes(20 * MIB), {})

    with pytest.raises(PayloadCorruptError, match=r"size 20971520 bytes, claimed 7"):
        store.get("app/a", 7)


@pytest.mark.parametrize(
    ("size_bytes", "operation"), [(1, "PutObject"), (17 * MIB, "CompleteMultipartUpload")]
)
def test_a_lost_answer_to_put(proxy, store, size_bytes, operation):
    """A put whose answer was lost is repeated, and succeeds although its key is taken by then."""
    payload = payload_of(size_bytes)
    proxy.lose(operation, times=1)

    store.put("app/a", payload, {})

    assert store.get("app/a", size_bytes) == payload
    assert proxy.operations[operation] == 2


@pytest.mark.parametrize("size_bytes", [1, 17 * MIB])
def test_a_foreign_object_is_not_overwritten(aws, store, size_bytes):
    """A key with an object of another writer is not overwritten, even if the size is the same."""
    aws.client("s3").put_object(Bucket=store.bucket, Key="app/a", Body=bytes(size_bytes))

    with pytest.raises(StoreDeniedError, match=r"does not overwrite .*key=app/a\]: another object has this"):
        store.put("app/a", payload_of(size_bytes), {})
    assert store.get("app/a", size_bytes) == bytes(size_bytes)


def test_a_taken_key_that_is_free_again(proxy, store):
    """A key that was taken and is empty when read raises a retryable error."""
    proxy.fail("PutObject", 412, times=1, content=xml("PreconditionFailed"))

    with pytest.raises(StoreUnavailableError, match="another object had the key and was deleted"):
        store.put("app/a", b"a", {})


def test_a_conflict_is_worth_another_try(proxy, store):
    """S3's 409 for concurrent writers raises a retryable error."""
    proxy.fail("PutObject", 409, times=1, content=xml("ConditionalRequestConflict"))

    with pytest.raises(StoreUnavailableError, match="ConditionalRequestConflict"):
        store.put("app/a", b"a", {})
    store.put("app/a", b"a", {})


def second_part(request):
    return request.query.get("partNumber") == "2"


def test_a_failed_part_leaves_no_upload(aws, proxy, store):
    """An upload is aborted if one of its parts fails, so that it costs nothing."""
    proxy.fail(second_part, 403, content=xml("AccessDenied"))

    with pytest.raises(StoreDeniedError, match="AccessDenied"):
        store.put("app/a", bytes(17 * MIB), {})
    assert not aws.client("s3").list_multipart_uploads(Bucket=store.bucket).get("Uploads")
    assert list(store.list()) == []


def test_an_abort_that_fails(proxy, store):
    """A failed upload raises its own error, not that of its failed abort."""
    proxy.fail(second_part, 403, content=xml("AccessDenied"))
    aborts = proxy.fail("AbortMultipartUpload", 403, content=xml("InvalidAccessKeyId"))

    with pytest.raises(StoreDeniedError, match="AccessDenied"):
        store.put("app/a", bytes(17 * MIB), {})
    assert aborts.used == 1


def test_a_connection_is_used_again(proxy, store):
    """Reading a payload gives its connection back, so that the next call need not make one."""
    payload = payload_of(300 * KIB)
    for number in range(3):
        store.put(f"app/{number}", payload, {})
        store.get(f"app/{number}", len(payload))

    assert len({request.client_port for request in proxy.requests}) == 1

"""Credentials that S3 does not accept for a while, and answers that come too slowly."""

import random

import pytest

from pipeline.aws.credentials import renew
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.message_size import Wire
from pipeline.errors import StoreUnavailableError
from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.options import Options
from pipeline.serializer import serializer
from pipeline.stores.s3.store import S3Store

pytestmark = pytest.mark.aws

NOISE = random.Random(3).randbytes(300_000)
PASSING = ["ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed", "TooManyRequests"]


def answer(code):
    return f"<Error><Code>{code}</Code><Message>because</Message></Error>".encode()


@pytest.fixture
def claimcheck_of(proxy, moto_aws):
    """Make claim checks over a store behind a proxy, which wait so long for it."""
    made = []

    def make(store_retry_seconds):
        options = Options(store_retry_seconds=store_retry_seconds)
        store = S3Store(moto_aws.bucket(), "app", timeout_seconds=5, payload_client="boto3")
        codec = Codec(serializer.KOMBU_TYPES)
        made.append(ClaimCheck(store, codec, options, Wire.of("sqs", 4_096), Recorder(NullSink())))
        return made[-1]

    yield make
    for each in made:
        each.store.close()
        each.recorder.close()


@pytest.fixture
def offloaded(claimcheck_of):
    """A claim check, and the claim of a payload that it has put away."""
    claimcheck = claimcheck_of(30)
    return claimcheck, claimcheck.offload(claimcheck.seal(NOISE)).claim


@pytest.fixture
def keys(moto_aws, monkeypatch, tmp_path):
    """Write the credentials of this process as a rotation does: into the file that boto3 reads."""
    file = tmp_path / "credentials"

    def write(access_key):
        file.write_text(f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = secret\n")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    write("OLDKEY")
    return write


def key_of(request):
    return request.headers["authorization"].partition("Credential=")[2].partition("/")[0]


def test_credentials_are_read_anew_between_tries(keys, proxy, offloaded):
    """A key that was rotated away fails one try, and the next one is signed with the new key."""
    claimcheck, claim = offloaded
    keys("NEWKEY")
    proxy.fail(lambda request: key_of(request) == "OLDKEY", 403, content=answer("InvalidAccessKeyId"))

    assert claimcheck.rehydrate(claim) == NOISE
    assert [key_of(request) for request in proxy.seen("GetObject")] == ["OLDKEY", "NEWKEY"]


def test_a_request_that_another_thread_overtook_is_sent_again(keys, proxy, offloaded):
    """A key that is denied after another thread has renewed the client's costs one retry, and no error."""
    claimcheck, claim = offloaded
    client = claimcheck.store._clients.get()
    keys("NEWKEY")

    def is_old(request):
        return key_of(request) == "OLDKEY" and renew(client)

    proxy.fail(is_old, 403, content=answer("InvalidAccessKeyId"))

    assert (
        client.get_object(Bucket=claimcheck.store.bucket, Key=claim.key)["ContentLength"] == claim.size_bytes
    )


@pytest.mark.parametrize("code", PASSING)
def test_what_passes_is_tried_again(proxy, offloaded, code):
    """A transient error costs a publisher and a task only time."""
    claimcheck, claim = offloaded
    proxy.fail(status=400, times=1, content=answer(code))
    assert claimcheck.rehydrate(claim) == NOISE

    proxy.fail(status=400, times=1, content=answer(code))
    assert claimcheck.offload(claimcheck.seal(NOISE)).claim


def test_what_does_not_pass_is_given_up(proxy, claimcheck_of):
    """An error that lasts ``store_retry_seconds`` is an unavailable store: its message is redelivered."""
    claimcheck = claimcheck_of(0.3)
    proxy.fail(status=400, content=answer("ExpiredToken"))

    with pytest.raises(StoreUnavailableError, match="ExpiredToken"):
        claimcheck.offload(claimcheck.seal(NOISE)).claim


@pytest.mark.parametrize("code", PASSING)
def test_deletes_are_tried_again(proxy, claimcheck_of, code):
    """A payload whose delete failed for a while is released later, and never counted as an orphan."""
    claimcheck = claimcheck_of(0.1)
    claim = claimcheck.offload(claimcheck.seal(NOISE)).claim
    proxy.fail("DeleteObjects", 400, content=answer(code))
    reported = []

    assert claimcheck.release([claim], reported.append) == [claim]
    assert reported == []

    proxy.heal()
    assert (claimcheck.release([claim], reported.append), reported) == ([], [{}])
    assert list(claimcheck.store.list()) == []


def test_missing_credentials_are_looked_for_again(monkeypatch, keys, tmp_path, offloaded):
    """A process that started without credentials finds those that are added later."""
    claimcheck, claim = offloaded
    claimcheck.store.close()
    (tmp_path / "credentials").unlink()
    with pytest.raises(Exception, match="NoCredentialsError"):
        claimcheck.rehydrate(claim)
    keys("NEWKEY")

    assert claimcheck.rehydrate(claim) == NOISE


def test_a_slow_answer_is_bounded_as_a_whole(proxy, offloaded):
    """A payload that comes byte by byte is never silent, and given up after ``store_retry_seconds``."""
    claimcheck, claim = offloaded
    object.__setattr__(claimcheck.options, "store_retry_seconds", 0.5)
    slow = proxy.trickle("GetObject")

    with pytest.raises(StoreUnavailableError, match="the transfer is too slow, the last at byte"):
        claimcheck.rehydrate(claim)
    assert slow.used == 1


def test_a_slow_record_is_bounded_as_a_whole(proxy, claimcheck_of):
    """A slow idempotency record is bounded by the same time as a whole."""
    claimcheck = claimcheck_of(0.5)
    records = claimcheck.store.records()
    records.write("app/once/v1/a", NOISE, None)
    proxy.trickle("GetObject")

    with pytest.raises(StoreUnavailableError):
        claimcheck.with_retries(lambda: records.read("app/once/v1/a"))


def test_a_connection_that_was_cut_off_is_not_used_again(proxy, offloaded):
    """After a slow answer the next read has a connection of its own, and all of the payload."""
    claimcheck, claim = offloaded
    object.__setattr__(claimcheck.options, "store_retry_seconds", 0.5)
    proxy.trickle("GetObject", times=1)
    with pytest.raises(StoreUnavailableError):
        claimcheck.rehydrate(claim)

    assert claimcheck.rehydrate(claim) == NOISE

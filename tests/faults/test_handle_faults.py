"""Handles while S3 fails: parts and ranges are repeated, and nothing is left of what cannot be stored."""

import os

import pytest

import pipeline
from pipeline.errors import PayloadCorruptError, StoreDeniedError, StoreUnavailableError
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws

CONTENT = os.urandom(20_000_000)
DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.fixture
def sample(sample_of, moto_aws, proxy, monkeypatch):
    """A sample whose store is asked for five seconds at most, once at a time."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"store_retry_seconds": 5})


def test_what_a_handle_costs(sample, proxy):
    """20 MB are three parts and two requests more, and five ranges; a URL costs nothing."""
    handle = pipeline.put(CONTENT)
    handle.url(60)
    assert proxy.operations == {"CreateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1}

    assert b"".join(handle.chunks()) == CONTENT
    assert proxy.operations["GetObject"] == 5
    assert proxy.operations["HeadObject"] == 0


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
@pytest.mark.parametrize("fault", ["fail", "reset", "lose"])
def test_each_request_of_an_upload_is_repeated(sample, proxy, operation, fault):
    """A request that fails, or whose answer is lost, is sent again, and the object is stored once."""
    getattr(proxy, fault)(operation, times=1)
    handle = pipeline.put(CONTENT)

    assert proxy.operations[operation] >= 2
    assert handle.load() == CONTENT
    assert sample.objects() == [handle.key]


@pytest.mark.parametrize("fault", ["fail", "reset", "truncate"])
def test_each_range_is_repeated(sample, proxy, fault, tmp_path):
    """A range that fails, or breaks off, is read again, whichever way the payload is read."""
    handle = pipeline.put(CONTENT)
    for read in (
        lambda: b"".join(handle.chunks()),
        lambda: handle.open().read(),
        lambda: handle.download(tmp_path / "content").read_bytes(),
    ):
        getattr(proxy, fault)("GetObject", times=2)
        assert read() == CONTENT


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_nothing_is_left_of_an_upload_that_is_denied(sample, proxy, moto_aws, operation):
    """The caller gets the error, and the parts are dropped."""
    proxy.fail(operation, status=403, content=DENIED)

    with pytest.raises(StoreDeniedError, match="key=claims/handles/7d/"):
        pipeline.put(CONTENT)
    assert proxy.operations["AbortMultipartUpload"] == 1
    assert sample.objects() == []
    bucket = serializer.installed().store.bucket
    assert "Uploads" not in moto_aws.client("s3").list_multipart_uploads(Bucket=bucket)


def test_a_download_that_gave_up_continues(sample, proxy, tmp_path):
    """A download that gave up leaves what it has, and the next one reads the rest alone."""
    handle = pipeline.put(CONTENT)
    proxy.fail(lambda request: request.headers.get("range", "").startswith("bytes=1258"), status=503)
    with pytest.raises(StoreUnavailableError):
        handle.download(tmp_path / "content")
    proxy.heal()
    before = proxy.operations["GetObject"]

    assert handle.download(tmp_path / "content").read_bytes() == CONTENT
    assert proxy.operations["GetObject"] - before == 2


def test_a_replaced_object_is_noticed_by_its_etag(sample, moto_aws):
    """A reader of several ranges never gets bytes of two objects."""
    handle = pipeline.put(CONTENT)
    with handle.open() as file:
        file.read(10)
        bucket = serializer.installed().store.bucket
        moto_aws.client("s3").put_object(Bucket=bucket, Key=handle.key, Body=CONTENT[::-1])
        with pytest.raises(PayloadCorruptError, match="another writer changed this object"):
            file.read()

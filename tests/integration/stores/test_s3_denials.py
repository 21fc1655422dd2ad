"""S3's denials, over real HTTP, become errors that name the remedy."""

import pytest
from botocore.exceptions import ClientError
from s3_answers import MIB, xml

from pipeline.errors import (
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.s3.store import S3Store


@pytest.fixture
def proxied(proxy):
    """A store whose every call the proxy answers."""
    store = S3Store("payloads", "app", timeout_seconds=5, payload_client="boto3")
    yield store
    store.close()


VERBS = [
    pytest.param(lambda store: store.put("app/a", b"a", {}), id="put"),
    pytest.param(lambda store: store.put("app/a", bytes(17 * MIB), {}), id="put-parts"),
    pytest.param(lambda store: store.get("app/a", 1), id="get"),
    pytest.param(lambda store: store.get("app/a", 20 * MIB), id="get-ranges"),
    pytest.param(lambda store: store.delete(["app/a", "app/b"]), id="delete"),
    pytest.param(lambda store: list(store.list()), id="list"),
]


def result(*errors):
    """Return DeleteObjects' answer, whose status is 200 whatever became of the keys."""
    said = "".join(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in errors)
    return f"<DeleteResult>{said}</DeleteResult>".encode()


def test_keys_that_must_not_be_deleted(proxied, proxy):
    """Keys that a bucket policy or object lock denies are reported apart from keys to try again."""
    proxy.fail(
        "DeleteObjects", status=200, content=result(("app/a", "InternalError"), ("app/b", "AccessDenied"))
    )
    left = proxied.delete(["app/a", "app/b", "app/c"])

    assert {key: type(why) for key, why in left.items()} == {
        "app/a": StoreUnavailableError,
        "app/b": StoreDeniedError,
    }
    assert "keys=1]: S3 answered AccessDenied; allow s3:DeleteObject" in str(left["app/b"])


def test_keys_that_could_not_be_deleted(proxied, proxy):
    """Keys that S3 failed to delete are returned, to be tried again."""
    proxy.fail("DeleteObjects", status=200, content=result(("app/a", "InternalError")))

    assert list(proxied.delete(["app/a", "app/b"])) == ["app/a"]


@pytest.mark.parametrize("call", VERBS)
def test_missing_bucket(aws, call):
    """Every verb raises an error that names a missing bucket."""
    store = S3Store("there-is-no-such-bucket", "app")
    with pytest.raises(StoreDeniedError, match=r"bucket does not exist \[bucket=there-is-no-such-bucket"):
        call(store)
    store.close()


@pytest.mark.parametrize("call", VERBS)
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDenied", "s3:ListBucket"),
        ("SignatureDoesNotMatch", "valid credentials"),
        ("KMS.DisabledException", "kms_key_id"),
    ],
)
def test_denied(proxy, proxied, call, code, words):
    """A denial is final for every verb, names the remedy, and mentions that a 403 may mean a missing key."""
    proxy.fail(status=403, content=xml(code))

    with pytest.raises(StoreDeniedError, match=words) as caught:
        call(proxied)
    assert code in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


@pytest.mark.parametrize("call", VERBS)
@pytest.mark.parametrize(
    ("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")]
)
def test_wrong_region(proxy, proxied, call, status, code):
    """A bucket in another region is final, and the message names both regions."""
    proxy.fail(status=status, content=xml(code, "<Region>us-west-2</Region>"))

    ours = proxied._clients.get().meta.region_name
    with pytest.raises(StoreDeniedError, match=f"region {ours} and the bucket is in us-west-2"):
        call(proxied)


def test_no_credentials(proxy, proxied, monkeypatch, tmp_path):
    """A process without credentials raises before it makes a request."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    with pytest.raises(StoreDeniedError, match=r"rejected the credentials.*NoCredentialsError"):
        proxied.get("app/a", 1)
    assert proxy.requests == []


def test_half_of_the_credentials(proxied, monkeypatch):
    """An access key without its secret raises."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(StoreDeniedError, match="PartialCredentialsError"):
        proxied.get("app/a", 1)


def test_no_such_profile(proxied, monkeypatch):
    """A profile that does not exist raises StoreDeniedError, even before a client is made."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(StoreDeniedError, match="ProfileNotFound"):
        proxied.get("app/a", 1)


@pytest.mark.parametrize("call", VERBS)
def test_connection_refused(proxy, proxied, call):
    """An endpoint that does not listen is unavailable and retryable."""
    proxy.refuse()

    with pytest.raises(StoreUnavailableError, match="EndpointConnectionError"):
        call(proxied)


def test_a_lasting_503(proxy, proxied):
    """Three times 503 is unavailable, and the caller decides what to do."""
    proxy.fail(status=503, content=xml("ServiceUnavailable"))

    with pytest.raises(StoreUnavailableError, match=r"ServiceUnavailable \(503\) because; try again"):
        proxied.get("app/a", 1)
    assert proxy.operations == {"GetObject": 3}

"""S3's refusals, over real HTTP, become errors that name the remedy."""

import pytest
from botocore.exceptions import ClientError
from s3_answers import MIB, xml

from pipeline.errors import (
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.s3.store import S3Store


@pytest.fixture
def refused(proxy):
    """A store that nobody asks, as the proxy answers."""
    store = S3Store("payloads", "app", timeout_seconds=5)
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


def test_keys_that_must_not_be_deleted(refused, proxy):
    """A bucket policy or an object lock refuses key by key: what will stay is told from what may yet go."""
    proxy.fail(
        "DeleteObjects", status=200, content=result(("app/a", "InternalError"), ("app/b", "AccessDenied"))
    )
    left = refused.delete(["app/a", "app/b", "app/c"])

    assert {key: type(why) for key, why in left.items()} == {
        "app/a": StoreUnavailableError,
        "app/b": StoreDeniedError,
    }
    assert "keys=1]: S3 answered AccessDenied; allow s3:DeleteObject" in str(left["app/b"])


def test_keys_that_could_not_be_deleted(refused, proxy):
    """What S3 could not do now is returned, to be tried again."""
    proxy.fail("DeleteObjects", status=200, content=result(("app/a", "InternalError")))

    assert list(refused.delete(["app/a", "app/b"])) == ["app/a"]


@pytest.mark.parametrize("call", VERBS)
def test_missing_bucket(aws, call):
    """A bucket that does not exist refuses every verb, by name."""
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
def test_denied(proxy, refused, call, code, words):
    """A refusal is final for every verb, and says what to do; a 403 hints at keys that are only missing."""
    proxy.fail(status=403, content=xml(code))

    with pytest.raises(StoreDeniedError, match=words) as caught:
        call(refused)
    assert code in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


@pytest.mark.parametrize("call", VERBS)
@pytest.mark.parametrize(
    ("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")]
)
def test_wrong_region(proxy, refused, call, status, code):
    """A bucket in another region is final, and the message names both regions."""
    proxy.fail(status=status, content=xml(code, "<Region>us-west-2</Region>"))

    ours = refused._clients.get().meta.region_name
    with pytest.raises(StoreDeniedError, match=f"region {ours} and the bucket is in us-west-2"):
        call(refused)


def test_no_credentials(proxy, refused, monkeypatch, tmp_path):
    """A process without credentials is refused before it asks."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    with pytest.raises(StoreDeniedError, match=r"rejected the credentials.*NoCredentialsError"):
        refused.get("app/a", 1)
    assert proxy.requests == []


def test_half_of_the_credentials(refused, monkeypatch):
    """An access key without its secret is refused."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(StoreDeniedError, match="PartialCredentialsError"):
        refused.get("app/a", 1)


def test_no_such_profile(refused, monkeypatch):
    """A profile that nobody has written is a matter of configuration, even before there is a client."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(StoreDeniedError, match="ProfileNotFound"):
        refused.get("app/a", 1)


@pytest.mark.parametrize("call", VERBS)
def test_connection_refused(proxy, refused, call):
    """An endpoint where nobody listens is unavailable, and may come back."""
    proxy.refuse()

    with pytest.raises(StoreUnavailableError, match="EndpointConnectionError"):
        call(refused)


def test_a_lasting_503(proxy, refused):
    """Three times 503 is unavailable, and the caller decides what to do."""
    proxy.fail(status=503, content=xml("ServiceUnavailable"))

    with pytest.raises(StoreUnavailableError, match=r"ServiceUnavailable \(503\) because; try again"):
        refused.get("app/a", 1)
    assert proxy.operations == {"GetObject": 3}

"""Which URL means which store."""

from pathlib import Path

import pytest

from pipeline.stores import store_from_url
from pipeline.stores.dynamodb.store import DynamoDBStore
from pipeline.stores.file.store import FileStore
from pipeline.stores.s3.store import S3Store


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://payloads", "payloads", ""),
        ("s3://payloads/", "payloads", ""),
        ("s3://payloads/shop", "payloads", "shop"),
        ("s3://payloads/shop/eu=1/", "payloads", "shop/eu=1"),
        ("s3://my.payloads-1/shop", "my.payloads-1", "shop"),
        ("s3://a-bucket-of-sixty-three-characters-which-is-all-that-s3-will-give", None, None),
    ],
)
def test_s3(url, bucket, prefix):
    """The host is the bucket, and the path is the prefix, without slashes around it."""
    if bucket is None:
        with pytest.raises(ValueError, match="bucket name"):
            store_from_url(url + "-x")
        return

    store = store_from_url(url)
    assert isinstance(store, S3Store)
    assert (store.bucket, store.prefix) == (bucket, prefix)


@pytest.mark.parametrize("url", ["dynamodb://Payloads_1.eu/shop/eu", "dynamodb://Payloads_1.eu/shop/eu/"])
def test_dynamodb(url):
    """The host is the table, as it is written, and the path is the prefix; the lifetime is the items'."""
    assert store_from_url(url, 60) == DynamoDBStore("Payloads_1.eu", "shop/eu", ttl_seconds=60)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("dynamodb://ab", {}, "not the name of a table"),
        ("dynamodb:///shop", {}, "not the name of a table"),
        ("dynamodb://table/a b", {}, "is not a prefix"),
        ("dynamodb://table", {"kms_key_id": "k"}, "has no option kms_key_id"),
    ],
)
def test_no_table(url, options, words):
    """A URL that names no table, or an option of another store, is an error."""
    with pytest.raises(ValueError, match=words):
        store_from_url(url, **options)


def test_s3_takes_options():
    """Options reach the S3 store, and those that are None count as absent."""
    store = store_from_url(
        "s3://payloads/shop", server_side_encryption="aws:kms", kms_key_id="alias/k", region=None
    )

    assert store == S3Store("payloads", "shop", server_side_encryption="aws:kms", kms_key_id="alias/k")


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("file:///var/payloads", "/var/payloads"),
        ("file:///var/payloads/", "/var/payloads"),
        ("file:///var/my%20payloads", "/var/my payloads"),
    ],
)
def test_file(url, directory):
    """The path is the directory; options that are None do not trouble it."""
    assert store_from_url(url, kms_key_id=None) == FileStore(Path(directory))


def test_memory():
    """The same name is the same store within a process, and another name is another one."""
    store = store_from_url("memory://one", server_side_encryption=None)
    store.put("a", b"a", {})

    assert store_from_url("memory://one") is store
    assert store_from_url("memory://one").get("a", 1) == b"a"
    assert list(store_from_url("memory://two").list()) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "unknown scheme ''"),
        ("payloads", "unknown scheme ''"),
        ("gs://payloads/shop", "unknown scheme 'gs'"),
        ("https://payloads.s3.amazonaws.com/shop", "unknown scheme 'https'"),
        ("s3:payloads", "no bucket"),
        ("s3://", "no bucket"),
        ("s3:///shop", "no bucket"),
        ("s3://Payloads", "'Payloads' is not a bucket name"),
        ("s3://my_payloads", "'my_payloads' is not a bucket name"),
        ("s3://ab", "'ab' is not a bucket name"),
        ("s3://-payloads", "is not a bucket name"),
        ("s3://pay..loads", "is not a bucket name"),
        ("s3://192.168.0.1/shop", "is not a bucket name"),
        ("s3://payloads:9000/shop", "is not a bucket name"),
        ("s3://payloads/shop/../other", "must not contain"),
        ("s3://payloads/%2e%2e/other", "must not contain"),
        ("s3://payloads/./shop", "must not contain"),
        ("s3://payloads/shop//eu", "is not a prefix"),
        ("s3://payloads/sh op", "is not a prefix"),
        ("s3://payloads/{}".format("x" * 513), "513 bytes"),
        ("s3://payloads/shop?region=eu", "query or fragment"),
        ("s3://payloads/shop#1", "query or fragment"),
        ("s3://[payloads/shop", "not a valid URL"),
        ("file://payloads/shop", "file:///directory"),
        ("file:///", "file:///directory"),
        ("file:///var/../etc", "must not contain"),
        ("file:///var/%00", "file:///directory"),
        ("memory://", "memory://name"),
        ("memory://one/two", "memory://name"),
    ],
)
def test_other_urls_raise(url, words):
    """Any other URL raises ValueError when the application starts, and the error says why."""
    with pytest.raises(ValueError, match=words):
        store_from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAEXAMPLE:hunter2@payloads/shop",
        "s3://hunter2@payloads/shop",
        "s3://payloads/shop?secret=hunter2",
        "s3://payloads/shop#hunter2",
        "ftp://user:hunter2@payloads/shop",
        "s3://user:hunter2@[payloads/shop",
    ],
)
def test_credentials_are_never_repeated(url):
    """A URL with a secret in it raises ValueError, and the error does not contain the secret."""
    with pytest.raises(ValueError, match="store URL") as caught:
        store_from_url(url)

    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("url", ["s3://payloads", "file:///var/payloads", "memory://one"])
def test_unknown_options_raise(url):
    """An option that a store does not have raises ValueError, and the error lists those that it has."""
    with pytest.raises(ValueError, match="has no option colour; expected"):
        store_from_url(url, colour="red")
    if not url.startswith("s3:"):
        with pytest.raises(ValueError, match="has no option kms_key_id"):
            store_from_url(url, kms_key_id="alias/k")

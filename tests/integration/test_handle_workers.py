"""Handles as arguments and results of real workers, and as links."""

import os
import urllib.request
from urllib.error import HTTPError

import pytest

import pipeline
from pipeline.errors import PayloadMissingError

CONTENT = os.urandom(9_000_000)


@pytest.mark.worker
@pytest.mark.parametrize(("serializer", "pool"), [("json", "prefork"), ("claimcheck", "gevent")])
def test_a_task_takes_and_returns_handles(sample_of, moto_aws, serializer, pool):
    """A handle is an argument and a result, in Kombu's JSON and in our own serializer."""
    conf = {"result_serializer": serializer}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    sample.worker(pool=pool)
    given = pipeline.put(CONTENT, name="noise.bin")
    found = sample.turned.apply_async([given, {"in": [given]}], serializer=serializer).get(timeout=60)

    assert isinstance(found, pipeline.Handle)
    assert found.load() == CONTENT[::-1]
    assert (found.name, found.key != given.key) == ("noise.bin", True)
    given.delete()
    with pytest.raises(PayloadMissingError):
        given.load()


@pytest.mark.aws
def test_a_link_is_read_without_credentials(sample_of, aws):
    """Whoever has the URL reads the object, with the name and the type of the file."""
    sample_of(store=f"s3://{aws.bucket()}/claims")
    handle = pipeline.put(CONTENT, name="größe 1.csv")
    url = handle.url(60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == CONTENT
        assert answer.headers["Content-Type"] == "text/csv"
        assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.csv"

    assert "X-Amz-Expires=60&" in url
    if aws.name == "ministack":  # moto checks no signature
        with pytest.raises(HTTPError, match="403"):
            urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"))

"""Shared payloads with real workers, a real S3 protocol, and every call counted."""

import random
from collections import Counter

import pytest
from celery import chord, group
from workers import eventually

import pipeline
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws

NOISE = random.Random(3).randbytes(400_000)


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample with the default threshold, whose every call is written down."""
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"pack_bytes": 0})


def stored():
    """Return how many objects the store holds, and how many bytes."""
    sizes = [found.size_bytes for found in serializer.installed().store.list()]
    return len(sizes), sum(sizes)


def publish_chords(sample, value):
    for _ in range(5):
        chord(group(sample.digest.s(value, number) for number in range(10)), sample.total.s()).delay()


def test_chords_that_share_an_argument_upload_it_once(sample):
    """Five chords of ten tasks with an argument of 400 kB: 50 objects and 20 MB, or one and its ledger."""
    publish_chords(sample, NOISE)
    count, size_bytes = stored()

    assert (count, size_bytes // 1_000_000) == (50, 20)

    sample.clear()
    publish_chords(sample, pipeline.shared(NOISE, uses=50))
    count, size_bytes = stored()

    assert (count, size_bytes // 100_000) == (2, 4)


@pytest.mark.worker
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_shared_value_costs_one_put_and_a_get_each(sample, proxy, pool):
    """Ten tasks: two puts by the producer, ten gets where they run, two requests a batch, and one delete."""
    worker = sample.worker(pool=pool)
    proxy.requests.clear()
    rows = pipeline.shared(NOISE, uses=10)
    result = group(sample.digest.s(rows, number) for number in range(10))()

    assert result.get(timeout=60) == [sample.fingerprint([[NOISE, number], {}]) for number in range(10)]
    sample.eventually_empty()

    by_worker = Counter(each.operation for each in proxy.requests if each.pid == worker.pid)
    batches = by_worker["PutObject"] + 1
    assert proxy.operations["PutObject"] == 2 + by_worker["PutObject"]
    assert by_worker["GetObject"] - (10 if pool == "threads" else 0) == batches
    assert proxy.operations["GetObject"] == 10 + batches
    assert proxy.operations["DeleteObjects"] == 1


@pytest.mark.worker
def test_every_end_counts(sample):
    """Success, failure, retries, lost children and expiry end one use each, also acknowledged early."""
    rows = pipeline.shared(NOISE, uses=9)
    sample.early.delay(rows)
    sample.retry_early.delay(rows)
    sample.retry_early.delay(rows, dies=True)
    sample.fail.delay(rows)
    sample.retry_twice.delay(rows)
    sample.ignored.delay(rows)
    sample.suicide.delay(rows)
    sample.digest.apply_async((rows,), expires=-1)
    sample.worker(pool="prefork")
    eventually(lambda: sum("attempt" in note for note in sample.notes()) == 7)
    eventually(lambda: sample.notes().count("dying") == 2)
    assert len(sample.objects()) == 2
    assert sample.digest.delay(rows).get(timeout=60) == sample.fingerprint([[NOISE], {}])

    sample.eventually_empty()

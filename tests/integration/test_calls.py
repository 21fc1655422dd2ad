"""What a task costs at the HTTP level: which calls, how many, and from which process."""

import random

import pytest
from celery.signals import after_task_publish
from workers import eventually

from pipeline.claimcheck.message_size import FRAME_BYTES

pytestmark = [pytest.mark.aws, pytest.mark.worker]

PAYLOAD = ("PutObject", "GetObject", "HeadObject", "DeleteObject", "DeleteObjects", "CreateMultipartUpload")
NOISE = random.Random(3).randbytes(400_000)


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample with the default threshold, whose every call is recorded."""
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims")


def counted(proxy, operations=PAYLOAD):
    return {name: count for name, count in proxy.operations.items() if name in operations}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_an_offloaded_task_costs_one_put_and_one_get(sample, proxy, pool):
    """Ten large tasks are ten puts by the producer, ten gets where they run, and a few batched deletes."""
    worker = sample.worker(pool=pool)
    proxy.requests.clear()
    results = [sample.digest_bytes.delay(NOISE + bytes([i])) for i in range(10)]

    assert [result.get(timeout=60)[0] for result in results] == [400_001] * 10
    sample.eventually_empty()

    calls = counted(proxy)
    assert (calls.pop("PutObject"), calls.pop("GetObject")) == (10, 10)
    assert set(calls) == {"DeleteObjects"}
    readers = {request.pid for request in proxy.seen("GetObject")}
    if pool == "prefork":
        assert worker.pid not in readers
        assert readers <= {child.pid for child in worker.children()}
    assert {request.pid for request in proxy.seen("DeleteObjects")} == {worker.pid}


def test_an_inline_task_costs_nothing_more_than_before(sample, proxy):
    """Small tasks, and large ones that compress to a small size, never call the store."""
    sample.worker()
    proxy.requests.clear()
    small, packed = sample.digest.delay(1, a="x"), sample.digest.delay("all work and no play " * 20_000)

    assert small.get(timeout=60) == sample.fingerprint([[1], {"a": "x"}])
    assert packed.get(timeout=60) == sample.fingerprint([["all work and no play " * 20_000], {}])
    assert counted(proxy) == {}


def test_what_sqs_carries_weighs_what_was_computed(sample, moto_aws):
    """The size that decides is the size on the wire, within the reserve."""
    seen = {}

    def keep(headers, **_):
        seen.update(headers)

    after_task_publish.connect(keep)
    try:
        sample.digest_bytes.delay(NOISE[:90_000])
    finally:
        after_task_publish.disconnect(keep)
    sqs = moto_aws.client("sqs")
    url = moto_aws.url_of(sample.queue)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]

    computed, actual = seen["claimcheck"]["wire_bytes"], len(message["Body"])
    assert actual <= computed <= actual + 4_096 + FRAME_BYTES
    assert computed == pytest.approx(90_000 * 4 / 3, rel=0.1)


def test_an_object_says_which_task_it_is_for(sample, moto_aws):
    """Task name, task id and digest are in the object's metadata, for people; nothing trusts them."""
    result = sample.digest_bytes.delay(NOISE)
    (key,) = sample.objects()
    bucket = sample.environment["SHOP_STORE"].split("/")[2]
    metadata = moto_aws.client("s3").head_object(Bucket=bucket, Key=key)["Metadata"]

    assert (metadata["task"], metadata["task-id"]) == ("sample_app.digest_bytes", result.id)
    assert metadata["digest"].startswith("blake3:")


def test_a_message_whose_delete_fails_keeps_its_payload(sample, proxy):
    """A failed acknowledgement means a redelivery, so the payload stays until one succeeds."""
    worker = sample.worker(pool="solo")
    rule = proxy.fail(
        "DeleteMessageBatch", status=200, times=1,
        content=b'{"Successful":[],"Failed":[{"Id":"0","Code":"ReceiptHandleIsInvalid","SenderFault":true}]}',
    )  # fmt: skip
    result = sample.digest_bytes.delay(NOISE)

    assert result.get(timeout=60)[0] == 400_000
    eventually(lambda: rule.used == 1)
    eventually(lambda: "not settled" in worker.text())
    assert len(sample.objects()) == 1


@pytest.mark.parametrize(("status", "left"), [(400, 0), (500, 1)])
def test_a_failed_publish_gives_its_payload_up_if_that_is_safe(sample, proxy, status, left):
    """A failed publish releases its payload only if SQS certainly did not take the message."""
    proxy.fail("SendMessage", status=status, content=b'{"__type":"AccessDenied","message":"no"}')

    with pytest.raises(Exception, match=r"SendMessage"):
        sample.digest_bytes.apply_async((NOISE,), retry=False)

    assert len(sample.objects()) == left

"""The store goes away and comes back: nothing is lost, and nothing fails."""

import random
import threading
import time
from hashlib import sha256

import pytest
from workers import eventually

from pipeline.errors import StoreUnavailableError

pytestmark = [pytest.mark.aws, pytest.mark.worker]

RANDOM = random.Random(5)
OPTIONS = {"threshold_bytes": 0, "store_retry_seconds": 2}
DENIED = b'{"__type":"AccessDenied","message":"no"}'


@pytest.fixture
def sample(sample_of, moto_aws, s3):
    """A sample that waits two seconds for its store and then gives the message back."""
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS)


def test_twenty_seconds_without_s3_lose_and_fail_nothing(sample, s3):
    """Every task succeeds after S3 answers 503 for ten seconds and drops connections for ten more."""
    sample.worker(pool="prefork")
    payloads = [RANDOM.randbytes(20_000) for _ in range(40)]
    results = [sample.digest_bytes.delay(payload) for payload in payloads]
    eventually(lambda: any(result.ready() for result in results))

    s3.fail(status=503)
    time.sleep(10)
    s3.refuse()
    time.sleep(10)
    s3.heal()

    for result in results:
        assert result.get(timeout=120)[0] == 20_000
    assert {result.state for result in results} == {"SUCCESS"}
    sample.eventually_empty(60)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_an_outage_redelivers(sample, s3, pool):
    """A task whose payload cannot be read now goes back to the queue, and succeeds later."""
    worker = sample.worker(pool=pool)
    outage = s3.fail("GetObject", status=503)
    result = sample.digest_bytes.delay(b"x")
    eventually(lambda: "StoreUnavailableError" in worker.text(), 60)

    assert outage.used > 0
    assert result.state == "PENDING"

    s3.heal()
    assert result.get(timeout=60)[0] == 1
    sample.eventually_empty()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_an_outage_loses_no_early_acknowledged_task(sample, s3, pool):
    """With early acks the first message is gone, so the worker sends it again."""
    worker = sample.worker(pool=pool)
    s3.fail("GetObject", status=503)
    result = sample.early.delay("x" * 100)
    eventually(lambda: "StoreUnavailableError" in worker.text(), 60)
    s3.heal()

    assert result.get(timeout=60) == 100
    sample.eventually_empty()


def test_an_outage_leaves_no_object_of_a_door(sample_of, moto_aws, s3, monkeypatch):
    """With early acks, the message that the worker sends again has what its door deletes at the end."""
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    early = {"task_annotations": {"doors_app.open_door": {"acks_late": False}}}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS, conf=early)
    large = moto_aws.bucket("uploads-large")
    queue = f"{sample.queue}-extended"
    worker = sample.worker(pool="threads", app="doors_app", options=("-Q", queue))
    moto_aws.client("s3").put_object(Bucket=large, Key="k", Body=b"again and again")
    s3.fail("GetObject", status=503)
    moto_aws.client("sqs").send_message(
        QueueUrl=moto_aws.url_of(queue),
        MessageBody=f'["software.amazon.payloadoffloading.PayloadS3Pointer",'
        f'{{"s3BucketName":"{large}","s3Key":"k"}}]',
        MessageAttributes={"ExtendedPayloadSize": {"DataType": "Number", "StringValue": "15"}},
    )
    eventually(lambda: "StoreUnavailableError" in worker.text(), 60)
    s3.heal()
    eventually(lambda: len(sample.notes()) == 2, 60)

    eventually(lambda: "Contents" not in moto_aws.client("s3").list_objects_v2(Bucket=large))
    sample.eventually_empty()


@pytest.mark.parametrize(
    ("pool", "limit", "name"),
    [
        ("prefork", "soft_time_limit", "digest_bytes"),
        ("prefork", "time_limit", "digest_bytes"),
        ("prefork", "time_limit", "early"),
        ("gevent", "time_limit", "digest_bytes"),
        ("gevent", "time_limit", "early"),
    ],
)
def test_a_time_limit_is_not_for_the_store(sample_of, moto_aws, s3, pool, limit, name):
    """A limit that comes while the payload is waited for ends no task: nothing of it has run."""
    conf = {"task_annotations": {f"sample_app.{name}": {limit: 2}}}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)
    worker = sample.worker(pool=pool)
    s3.fail("GetObject", status=503)
    result = getattr(sample, name).delay(b"x")
    eventually(lambda: "time limit came first" in worker.text(), 60)

    assert result.state == "PENDING"
    s3.heal()
    assert result.get(timeout=60) in (1, [1, sha256(b"x").hexdigest()])
    sample.eventually_empty()


@pytest.mark.parametrize("size_bytes", [1, 9 * 1024**2], ids=["whole", "in ranges"])
def test_a_soft_limit_is_raised_while_s3_is_silent(sample_of, moto_aws, s3, size_bytes):
    """A limit that comes in the middle of a request is not taken for a failure of the network, and lost."""
    conf = {"task_annotations": {"sample_app.digest_bytes": {"soft_time_limit": 2}}}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=conf)
    worker = sample.worker(pool="prefork")
    s3.delay(6, "GetObject", times=1)
    result = sample.digest_bytes.delay(RANDOM.randbytes(size_bytes))
    eventually(lambda: "soft time limit came first" in worker.text(), 60)

    assert result.get(timeout=60)[0] == size_bytes
    sample.eventually_empty()


def test_what_cannot_be_sent_again_fails(sample_of, moto_aws, s3, proxy_to, monkeypatch):
    """A task acknowledged early is recorded as FAILURE if SQS also fails its republish."""
    sqs = proxy_to(moto_aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs.url)
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=OPTIONS)
    worker = sample.worker(pool="threads")
    s3.fail("GetObject", status=503)
    result = sample.early.delay("x" * 100)
    sqs.fail("SendMessage", status=403, content=DENIED)

    with pytest.raises(StoreUnavailableError):
        result.get(timeout=60)
    assert "message not published again" in worker.text()
    sample.eventually_empty()


def test_a_producer_waits_for_its_store(sample, s3):
    """A short outage costs the producer time and nothing else."""
    s3.refuse()
    healing = threading.Timer(1.0, s3.accept)
    healing.start()
    sample.digest_bytes.delay(b"x")
    healing.join()

    assert len(sample.objects()) == 1


def test_a_worker_starts_during_an_outage(sample, s3):
    """An unavailable store is no reason not to start: it may be back before the first task is."""
    s3.fail(status=503)
    worker = sample.worker(pool="solo")

    assert "starting although the store is unavailable" in worker.text()


@pytest.mark.parametrize("verb", ["reset", "truncate", "lose"])
def test_broken_connections_are_restored(sample, s3, verb):
    """A read or write of the store that breaks in the middle is repeated, and the task runs."""
    sample.worker(pool="solo")
    getattr(s3, verb)("PutObject", times=1)
    getattr(s3, verb)("GetObject", times=1)

    assert sample.digest_bytes.delay(RANDOM.randbytes(300_000)).get(timeout=60)[0] == 300_000
    sample.eventually_empty()


def test_a_flipped_bit_on_the_way_is_caught(sample, s3):
    """A payload damaged on its way reaches no task."""
    sample.worker(pool="solo")
    s3.flip("GetObject")

    with pytest.raises(Exception, match=r"payload corrupt|unavailable|checksum"):
        sample.digest_bytes.delay(RANDOM.randbytes(300_000)).get(timeout=20)

"""An upload that fails: one clear error for the publisher, nothing on the queue, nothing in the bucket."""

import os
import resource

import pytest
from kombu.exceptions import EncodeError

import pipeline
from pipeline.errors import StoreDeniedError, StoreUnavailableError

pytestmark = pytest.mark.aws

DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>no</Message></Error>"
DENIED_BY_SQS = b'{"__type":"AccessDenied","message":"no"}'


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample whose store is asked for a second at most."""
    options = {"threshold_bytes": 0, "store_retry_seconds": 1, "pack_bytes": 0}
    return sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=options)


def messages(sample, aws):
    """Return how many messages the sample's queue has; none where it was never made."""
    urls = aws.client("sqs").list_queues(QueueNamePrefix=sample.queue).get("QueueUrls", [])
    return sum(sum(aws.depth(url)) for url in urls)


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (403, DENIED, StoreDeniedError),
        (503, SLOW_DOWN, StoreUnavailableError),
        (500, b"", StoreUnavailableError),
    ],
)
def test_the_publisher_hears_of_it(sample, proxy, moto_aws, status, content, error):
    """Denied, throttled or broken: the error says which key and what to do, and nothing was sent."""
    proxy.fail("PutObject", status=status, content=content)

    with pytest.raises(EncodeError, match="key=claims/") as caught:
        sample.digest.delay("x")
    with pytest.raises(pipeline.BatchSendError, match=f"2 .*code={error.__name__}") as of_batch:
        sample.echo.chunks([("x",)] * 2, 1).apply_async()

    assert isinstance(caught.value.args[0], error)
    assert isinstance(of_batch.value.__cause__, error)
    assert "key=claims/" in str(of_batch.value.__cause__)
    assert messages(sample, moto_aws) == 0
    assert sample.objects() == []
    assert proxy.operations["SendMessage"] == proxy.operations["SendMessageBatch"] == 0


def test_a_denial_after_a_lost_answer_is_no_proof(sample, proxy, moto_aws, monkeypatch):
    """The payload stays when SQS took the first send and denied its repetition."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy.lose("SendMessage", times=1)
    proxy.fail("SendMessage", status=403, content=DENIED_BY_SQS, times=1)

    with pytest.raises(Exception, match="AccessDenied"):
        sample.digest.delay("x")
    assert proxy.operations["SendMessage"] == 2
    assert messages(sample, moto_aws) == len(sample.objects()) == 1


@pytest.fixture
def full_disk():
    """No file of this process gets longer than 10 kB: a write beyond that fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def restore():
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    yield restore
    restore()


def test_a_full_disk(sample_of, moto_aws, tmp_path, full_disk):
    """A store in a directory that takes no more says so, leaves no half of a file, and works afterwards."""
    options = {"threshold_bytes": 0, "store_retry_seconds": 1}
    sample = sample_of(store=f"file://{tmp_path}/store", options=options)
    noise = os.urandom(50_000)

    with pytest.raises(EncodeError, match="key=") as caught:
        sample.digest.delay(noise)
    assert isinstance(caught.value.args[0], StoreUnavailableError)
    assert messages(sample, moto_aws) == 0
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    full_disk()
    sample.digest.delay(noise)
    assert messages(sample, moto_aws) == len(sample.objects()) == 1


def test_a_batch_goes_on_after_one(sample, proxy, moto_aws):
    """Of a block, the error names the task whose upload failed; the others are sent."""
    proxy.fail("PutObject", status=403, content=DENIED, times=1)
    with pytest.raises(pipeline.BatchSendError) as caught, pipeline.batch():
        results = [sample.digest.delay(text) for text in "xyz"]
    (failed,) = caught.value.failed

    assert failed.task_id in {each.id for each in results}
    assert failed[1:] == (sample.queue, "StoreDeniedError", True)
    assert messages(sample, moto_aws) == 2
    assert len(sample.objects()) == 2


def test_without_threads_each_call_raises_its_own(sample_of, proxy, moto_aws):
    """Where no threads upload, the task whose upload fails is the caller's to catch; the others are sent."""
    options = {"threshold_bytes": 0, "upload_threads_count": 0}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", options=options)
    proxy.fail("PutObject", status=403, content=DENIED, times=1)
    with pipeline.batch():
        with pytest.raises(EncodeError):
            sample.digest.delay("x")
        sample.digest.delay("y")

    assert messages(sample, moto_aws) == 1
    assert len(sample.objects()) == 1

"""A real run emits every metric of the table.

Dashboard, alarms and pages are compared with the table by tests/unit/test_dashboard.py.
"""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from workers import eventually

import pipeline
from pipeline.admin import received_messages
from pipeline.cli.main import main
from pipeline.metrics.sinks.cloudwatch_names import DIMENSIONS, NAMESPACE
from pipeline.metrics.table import METRICS, PAYLOADS_OFFLOADED
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws

VISIBILITY_SECONDS = 3
BIG = random.Random(7).randbytes(6_000).hex()
FORBIDDEN = b'{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}'
EXPIRED = b'{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"expired"}'
DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.fixture
def watched(sample_of, moto_aws, proxy, monkeypatch):
    """A sample that offloads what is big, with short times, whose every call is recorded."""
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    options = {"visibility_timeout": VISIBILITY_SECONDS, "wait_time_seconds": 1, "health_seconds": 1}
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 5_500, "reserve_bytes": 0},
        conf={"broker_transport_options": {**options, "polling_interval": 0.1}},
        metrics=True,
    )
    sample.sqs, sample.s3 = moto_aws.client("sqs"), moto_aws.client("s3")
    sample.bucket = serializer.installed().store.bucket
    return sample


def one_message(sample):
    """Return the queue's URL, and the body of the only message in it, which is there again at once."""
    url = sample.sqs.get_queue_url(QueueName=sample.queue)["QueueUrl"]
    [message] = sample.sqs.receive_message(QueueUrl=url)["Messages"]
    sample.sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    return url, message["Body"]


def spoil(sample, publish):
    """Publish a task, and return its result and the key of its payload."""
    before = set(sample.objects())
    result = publish()
    (key,) = set(sample.objects()) - before
    return result, key


def read(cloudwatch):
    """Return units and sets of dimensions of every metric that has arrived, by name."""
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
    found = {}
    for each in (each for page in pages for each in page["Metrics"]):
        now = datetime.now(UTC)
        points = cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE, MetricName=each["MetricName"], Dimensions=each["Dimensions"], Period=3_600,
            StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        units, names = found.setdefault(each["MetricName"], (set(), set()))
        units |= {point["Unit"] for point in points}
        names |= {dimension["Name"] for dimension in each["Dimensions"]}
    return found


@pytest.mark.worker
@pytest.mark.slow
def test_a_real_run_emits_every_metric(watched, proxy, moto_aws, monkeypatch):
    """All that the table promises arrives in CloudWatch, from one producer, one worker and one sweep."""
    sample, recorder = watched, serializer.installed().recorder
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)

    # A second delivery of a task that has ended; a missing payload, and one that was overwritten.
    twice = sample.digest.delay(BIG, "twice")
    url, body = one_message(sample)
    missing, key = spoil(sample, lambda: sample.digest.delay(BIG, "missing"))
    sample.s3.delete_object(Bucket=sample.bucket, Key=key)
    corrupt, key = spoil(sample, lambda: sample.digest.delay(BIG, "corrupt"))
    size_bytes = sample.s3.head_object(Bucket=sample.bucket, Key=key)["ContentLength"]
    sample.s3.put_object(Bucket=sample.bucket, Key=key, Body=b"?" * size_bytes)
    words_queue = f"{sample.queue}-words"
    worker = sample.worker(concurrency=2, options=("-Q", f"{sample.queue},{words_queue}"))

    # Success, failure and retry, inline and offloaded; a handle.
    handle = pipeline.put(b"small")
    handle.load()
    handle.delete()
    assert sample.echo.delay("small").get(timeout=30) == "small"
    assert twice.get(timeout=30)
    for result in (missing, corrupt, sample.fail.delay("x")):
        result.get(timeout=60, propagate=False)
    assert sample.retry_twice.delay(BIG).get(timeout=30) == len(BIG)
    eventually(
        lambda: len(sample.objects()) == 1
    )  # the payload of the corrupt one, whose message becomes a dead letter
    sample.sqs.send_message(QueueUrl=url, MessageBody=body)
    sample.sqs.send_message(QueueUrl=url, MessageBody="no task")
    sample.sqs.send_message(QueueUrl=moto_aws.url_of(words_queue), MessageBody=" ")
    eventually(lambda: "message is not valid" in worker.text())
    eventually(lambda: "it holds nothing for a task" in worker.text())

    # SQS does not extend, and then does not delete; S3 does not delete.
    failures = proxy.fail("ChangeMessageVisibilityBatch", status=400, times=2, content=FORBIDDEN)
    assert sample.nap.delay("x", VISIBILITY_SECONDS).get(timeout=30) == 1
    assert failures.used == 2
    proxy.fail("DeleteMessageBatch", status=400, times=1, content=EXPIRED)
    unsettled = proxy.fail("DeleteMessage", status=400, times=1, content=EXPIRED)
    sample.echo.delay("unsettled").get(timeout=30)
    eventually(lambda: unsettled.used)
    denied = proxy.fail("DeleteObjects", status=403, times=1, content=DENIED)
    sample.digest.delay(BIG, "orphan").get(timeout=30)
    eventually(lambda: denied.used)
    worker.stop()

    # A sweep, and a CloudWatch that fails once.
    words = ["-A", "sample_app", "sweep", "--json", "--older-than", "0s", "--force-age"]
    swept = json.loads(CliRunner().invoke(main, words).stdout)
    recorder.flush()
    proxy.fail("PutMetricData", status=400, times=1)
    for _ in range(2):
        recorder.record(PAYLOADS_OFFLOADED, 0)
        recorder.flush()
    recorder.close()
    found = read(moto_aws.client("cloudwatch"))

    assert swept["orphans"] >= 1
    assert found.keys() == {metric.name for metric in METRICS}
    for metric in METRICS:
        units, dimensions = found[metric.name]
        assert units == {metric.unit.value}, metric.name
        assert dimensions <= set(DIMENSIONS)

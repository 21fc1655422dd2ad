"""Calls of tasks for consumers with AWS's SQS Extended Client: read by Python's, and in Java's bytes."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.aws

LARGE = 300_000


@pytest.fixture
def sample(sample_of, moto_aws, monkeypatch):
    """A producer with queues whose consumers know no Celery."""
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    made = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    moto_aws.bucket("uploads-large")
    made.aws = moto_aws
    return made


def large_objects(sample):
    return sample.aws.client("s3").list_objects_v2(Bucket="uploads-large").get("Contents", [])


CONSUMER = """
import boto3, json, sys, sqs_extended_client
sqs = boto3.client("sqs")
sqs.large_payload_support, sqs.delete_payload_from_s3 = "uploads-large", True
answer = sqs.receive_message(QueueUrl=sys.argv[1], MessageAttributeNames=["All"], WaitTimeSeconds=5)
for message in answer["Messages"]:
    sqs.delete_message(QueueUrl=sys.argv[1], ReceiptHandle=message["ReceiptHandle"])
print(json.dumps([message["Body"] for message in answer["Messages"]]))
"""


def consumed(sample, door):
    """Receive what is on a queue with AWS's own client, which deletes its objects."""
    done = subprocess.run(
        [sys.executable, "-c", CONSUMER, sample.aws.url_of(f"{sample.queue}-{door}")],
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("call", "received"),
    [
        ({"args": ["a text"]}, "a text"),
        ({"args": [{"id": 1, "tags": ["é"]}]}, '{"id":1,"tags":["é"]}'),
        ({"kwargs": {"id": 1}}, '{"id":1}'),
        ({"args": ["x" * LARGE]}, "x" * LARGE),
    ],
)
@pytest.mark.parametrize("door", ["plain", "legacy"])
def test_the_extended_client_of_python_receives(sample, door, call, received):
    """A task that is called for a queue of others is a plain message, large or small, for AWS's client."""
    sample.app.send_task("theirs.order", **call, queue=f"{sample.queue}-{door}", ignore_result=True)

    assert consumed(sample, door) == [received]
    assert large_objects(sample) == []


@pytest.mark.parametrize(
    ("door", "attribute"), [("plain", "ExtendedPayloadSize"), ("legacy", "SQSLargePayloadSize")]
)
def test_pointers_are_those_of_java(sample, door, attribute):
    """A pointer is byte for byte what the Java client of its version writes, with its attribute."""
    name = {
        "plain": "software.amazon.payloadoffloading.PayloadS3Pointer",
        "legacy": "com.amazon.sqs.javamessaging.MessageS3Pointer",
    }[door]
    sample.app.send_task("theirs.order", ["x" * LARGE], queue=f"{sample.queue}-{door}", ignore_result=True)
    [message] = sample.aws.client("sqs").receive_message(
        QueueUrl=sample.aws.url_of(f"{sample.queue}-{door}"),
        MessageAttributeNames=["All"],
        VisibilityTimeout=0,
    )["Messages"]
    [key] = [each["Key"] for each in large_objects(sample)]

    assert message["Body"] == f'["{name}",{{"s3BucketName":"uploads-large","s3Key":"{key}"}}]'
    assert message["MessageAttributes"] == {attribute: {"DataType": "Number", "StringValue": str(LARGE)}}
    assert consumed(sample, door) == ["x" * LARGE]

"""``pipeline dlq purge`` deletes the objects of others that a door deletes, with their messages."""

import json

import pytest
from dead_letters import DeadLetterQueue, outcome
from sample_fixtures import entered

pytestmark = pytest.mark.aws

SIZE = {"ExtendedPayloadSize": {"DataType": "Number", "StringValue": "7"}}


@pytest.fixture
def dead_letters(sample_of, moto, monkeypatch):
    """The queue of a door that deletes, with a dead letter for each key."""
    aws = entered(moto, monkeypatch)
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    sample = sample_of(store=f"s3://{aws.bucket()}/claims")
    aws.bucket("uploads-large")
    dead_letters = DeadLetterQueue(sample, aws, name=f"{sample.queue}-extended")
    for key in ("a", "b", "b"):
        aws.client("s3").put_object(Bucket="uploads-large", Key=key, Body=b"content")
        where = {"s3BucketName": "uploads-large", "s3Key": key}
        body = json.dumps(["software.amazon.payloadoffloading.PayloadS3Pointer", where])
        dead_letters.sqs.send_message(
            QueueUrl=dead_letters.dead_url, MessageBody=body, MessageAttributes=SIZE
        )
    return dead_letters


def left(dead_letters):
    found = dead_letters.aws.client("s3").list_objects_v2(Bucket="uploads-large")
    return [each["Key"] for each in found.get("Contents", [])]


def test_objects_go_with_their_messages(dead_letters):
    """An object is deleted and counted once its last message is purged."""
    code, said = outcome("purge", dead_letters.name, "--yes", "--limit", "2")
    assert (code, said["deleted"], said["released"]) == (0, 2, 1)
    assert left(dead_letters) == ["b"]
    code, said = outcome("purge", dead_letters.name, "--yes")

    assert (code, said["deleted"], said["released"], said["released_bytes"]) == (0, 1, 1, 7)
    assert left(dead_letters) == []


def test_objects_stay_if_payloads_do(dead_letters):
    """With ``--keep-payloads`` messages alone are deleted."""
    code, said = outcome("purge", dead_letters.name, "--yes", "--keep-payloads")

    assert (code, said["deleted"]) == (0, 3)
    assert left(dead_letters) == ["a", "b"]

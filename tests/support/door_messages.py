"""Messages for doors in the shapes that AWS documents, and the stores of a process that reads them."""

import json
from types import SimpleNamespace

import pytest

from pipeline.claimcheck import installed
from pipeline.doors import ForeignMessage
from pipeline.options import Options
from pipeline.stores.s3.store import S3Store

RECORD = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-west-2",
    "eventTime": "1970-01-01T00:00:00.000Z",
    "eventName": "ObjectCreated:Put",
    "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
    "requestParameters": {"sourceIPAddress": "127.0.0.1"},
    "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "testConfigRule",
        "bucket": {"name": "amzn-s3-demo-bucket", "arn": "arn:aws:s3:::amzn-s3-demo-bucket"},
        "object": {
            "key": "input/HappyFace.jpg",
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
    },
}
"""Source: Amazon S3 user guide, "Event message structure"."""

BRIDGED = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2021-11-12T00:00:00Z",
    "resources": ["arn:aws:s3:::amzn-s3-demo-bucket"],
    "detail": {
        "version": "0",
        "bucket": {"name": "amzn-s3-demo-bucket"},
        "object": {
            "key": "input/a+b c.jpg",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "reason": "PutObject",
    },
}
"""Source: Amazon S3 user guide, "Amazon S3 event message structure for EventBridge"."""

TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
}


OWN = "handles/7d/v1/0a/2026/11/26/" + "0a" * 20
"""A key of the app's own store."""

STORES = {
    "uploads": S3Store("amzn-s3-demo-bucket", "input"),
    "old": S3Store("old-bucket"),
    "all": S3Store("amzn-s3-demo-bucket"),
}
"""The stores that doors may name."""


@pytest.fixture(scope="module", autouse=True)
def in_place():
    """Let doors and handles find the stores."""
    before = installed.found()
    installed.install(SimpleNamespace(options=Options(), store=S3Store("own"), stores=STORES))
    yield
    installed.install(before)


def calls(door, body, **attributes):
    text = body if isinstance(body, str) else json.dumps(body)
    return list(door(ForeignMessage(text, attributes, "id", "queue")))

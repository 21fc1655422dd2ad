"""What the tests of the sweep share."""

import json

import pytest

from pipeline.admin import received_messages


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Receive without long polls: a stand-in has one server."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)


@pytest.fixture
def queued(sample, moto_aws):
    """The sample with a queue that keeps messages for 4 days, and a dead-letter queue that does for 14."""
    name = sample.queue
    sample.dead_url = moto_aws.queue(f"{name}-dlq", MessageRetentionPeriod=14 * 86_400)
    arn = f"arn:aws:sqs:eu-west-1:123456789012:{name}-dlq"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    sample.url = moto_aws.queue(name, MessageRetentionPeriod=4 * 86_400, RedrivePolicy=policy)
    sample.sqs = moto_aws.client("sqs")
    return sample

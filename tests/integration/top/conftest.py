"""What the tests of ``pipeline top`` share."""

import json

import pytest

ARN = "arn:aws:sqs:eu-west-1:123456789012:"


@pytest.fixture
def queue(sample, moto_aws):
    """The sample's queue with a dead-letter queue: its name."""
    name = sample.queue
    moto_aws.queue(f"{name}-dlq")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}{name}-dlq", "maxReceiveCount": 1})
    moto_aws.queue(name, RedrivePolicy=policy)
    return name

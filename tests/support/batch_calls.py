"""Tasks published together, SQS's answers to a batch, and what arrived."""

import json

from celery import group

import pipeline

DENIED = b'{"__type":"AccessDenied","message":"no"}'
THROTTLED = b'{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}'
ONCE = {"retries": {"total_max_attempts": 1}}
"""botocore asks once, so that the proxy counts what we do."""


def answer(sent, **codes):
    """Return SQS's answer to a batch: places that were taken, and codes of others; "!" is our fault."""
    failed = [
        {"Id": place.strip("_"), "Code": code.strip("!"), "SenderFault": code.endswith("!")}
        for place, code in codes.items()
    ]
    return json.dumps({"Successful": [{"Id": str(place)} for place in sent], "Failed": failed}).encode()


def publish(sample, count=25):
    return group(sample.double.s(number) for number in range(count)).apply_async()


def in_a_block(publish):
    with pipeline.batch():
        publish()

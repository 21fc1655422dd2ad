"""The places in AWS that the demo needs: the bucket, the queues, and the table of results."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3

from pipeline.local import REGION
from settings import QUEUES, CelerySettings, ClaimCheckSettings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

DELIVERIES = 5
"""After so many deliveries a message moves to the dead-letter queue."""


def make() -> None:
    """Make what is not there yet in an embedded AWS, which the environment names."""
    bucket, _ = bucket_and_prefix()
    place, s3 = {"LocationConstraint": REGION}, boto3.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)  # type: ignore[arg-type]
    sqs = boto3.client("sqs")
    for queue in QUEUES:
        _make_queue(sqs, queue)
    _make_table()


def bucket_and_prefix() -> tuple[str, str]:
    """Return where payloads lie."""
    store = urlsplit(ClaimCheckSettings().store)
    return store.netloc, store.path.strip("/")


def queue_names() -> list[str]:
    """Return the names of all queues, dead-letter queues included, as SQS knows them."""
    prefix = CelerySettings().queue_name_prefix
    return [f"{prefix}{queue}{suffix}" for queue in QUEUES for suffix in ("", "-dlq")]


def _make_queue(sqs: "SQSClient", queue: str) -> None:
    name = f"{CelerySettings().queue_name_prefix}{queue}"
    dead = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    target = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"deadLetterTargetArn": target, "maxReceiveCount": DELIVERIES}
    visibility = str(CelerySettings().visibility_timeout)
    attributes = {"VisibilityTimeout": visibility, "RedrivePolicy": json.dumps(redrive)}
    sqs.create_queue(QueueName=name, Attributes=attributes)  # type: ignore[arg-type]


def _make_table() -> None:
    # Celery's backend makes its own table when it is first used: once here, not in two workers at a time.
    from tasks.app import app  # noqa: PLC0415 - reads the environment when it is imported

    app.backend.client  # noqa: B018

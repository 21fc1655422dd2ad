"""Bucket, queue and notification of the demo: S3 notifies the queue of what is created below ``input/``."""

import json
from urllib.parse import urlsplit

import boto3

from pipeline.admin.lifetimes import lifetimes
from pipeline.admin.provision import provision
from pipeline.transport.queues import Queues
from settings import UploadSettings


def make() -> None:
    """Create what does not exist in the AWS that the environment names."""
    from tasks.uploads import app, claimcheck  # noqa: PLC0415 - reads the environment when it is imported

    with Queues(app) as queues:
        for _ in provision(claimcheck.store, queues, list(lifetimes(app, claimcheck))):
            pass
    app.backend.client  # noqa: B018 - creates its table here, and not in two processes at a time
    _notify()


def _notify() -> None:
    """Let S3 send notifications to the queue, and let pages of other origins upload."""
    settings = UploadSettings()
    bucket, prefix = bucket_and_prefix()
    sqs, s3 = boto3.client("sqs"), boto3.client("s3")
    url = sqs.get_queue_url(QueueName=settings.queue)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(_policy(bucket, arn))})
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {
                    "QueueArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"{prefix}/"}]}},
                }
            ]
        },
    )
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["PUT", "GET"], "AllowedHeaders": ["*"]}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})  # type: ignore[list-item]


def _policy(bucket: str, queue_arn: str) -> dict[str, object]:
    """Return a policy that lets S3 send to the queue, for this bucket alone."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def bucket_and_prefix() -> tuple[str, str]:
    """Return bucket and prefix of what clients upload."""
    store = urlsplit(UploadSettings().store)
    return store.netloc, store.path.strip("/")


def queue_names() -> list[str]:
    """Return the names of the queue and its dead-letter queue."""
    return [f"{UploadSettings().queue}{suffix}" for suffix in ("", "-dlq")]

"""Checks after the demo, read from AWS: no payload and no message is left, and the metrics are complete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3

from pipeline.metrics import Metric
from pipeline.metrics import table as metrics
from tasks.demo import aws_resources
from tasks.demo.workload import Sent

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import DimensionTypeDef
    from mypy_boto3_sqs.literals import QueueAttributeNameType

Pairs = tuple[tuple[str, str], ...]
"""Dimensions of a series: names and values."""

NAMESPACE = "ClaimCheck"
"""Where the application's metrics go; the default of ``CloudWatchSink``."""
WAITING: "tuple[QueueAttributeNameType, ...]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
"""States in which SQS may still have a message."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check, with its figures."""

    holds: bool
    text: str


def checks(sent: Sequence[Sent]) -> Iterator[Check]:
    """Run all checks. Workers must be stopped, and this process's metrics flushed."""
    succeeded = sum(each.succeeded for each in sent)
    yield Check(succeeded == len(sent), f"tasks succeeded: {succeeded} of {len(sent)}")
    yield empty_bucket()
    yield waiting_messages(aws_resources.queue_names())
    yield from _metrics(sent)


def empty_bucket() -> Check:
    """Check that no payload is left."""
    bucket, prefix = aws_resources.bucket_and_prefix()
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    count = sum(page["KeyCount"] for page in pages)
    return Check(count == 0, f"bucket empty: {count} objects under s3://{bucket}/{prefix}")


def waiting_messages(names: Sequence[str]) -> Check:
    """Check that no message is left in these queues."""
    sqs = boto3.client("sqs")
    counts = dict.fromkeys(WAITING, 0)
    for name in names:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(WAITING))["Attributes"]
        counts = {state: count + int(found[state]) for state, count in counts.items()}
    waiting, hidden, delayed = counts.values()
    text = f"{waiting} waiting, {hidden} in flight, {delayed} delayed in {', '.join(names)}"
    return Check(not any(counts.values()), f"queues empty: {text}")


def _metrics(sent: Sequence[Sent]) -> Iterator[Check]:
    cloudwatch = boto3.client("cloudwatch")
    offloaded = sum(each.key is not None for each in sent)
    found = _sum(cloudwatch, metrics.PAYLOADS_OFFLOADED)
    yield Check(found == offloaded, f"metric PayloadsOffloaded: {found} for {offloaded} offloaded tasks")
    found = _sum(cloudwatch, metrics.TASKS_SUCCEEDED)
    yield Check(found == len(sent), f"metric TasksSucceeded: {found} for {len(sent)} tasks")
    found = _sum(cloudwatch, metrics.PAYLOADS_RELEASED)
    text = f"{found} for {offloaded} tasks and the results that were offloaded"
    yield Check(found >= offloaded, f"metric PayloadsReleased: {text}")


def _sum(cloudwatch: "CloudWatchClient", metric: Metric) -> int:
    """Add up the series that name a queue, as those of offloaded results do not; or those without names."""
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=NAMESPACE, MetricName=metric.name)
    # A set, because moto 5.2 lists a series once for each of its values.
    listed = {_pairs(series["Dimensions"]) for page in pages for series in page["Metrics"]}
    of_queues = {pairs for pairs in listed if "Queue" in dict(pairs)}
    return round(sum(_series_sum(cloudwatch, metric, pairs) for pairs in of_queues or listed))


def _pairs(dimensions: Sequence["DimensionTypeDef"]) -> Pairs:
    return tuple((each["Name"], each["Value"]) for each in dimensions)


def _series_sum(cloudwatch: "CloudWatchClient", metric: Metric, pairs: Pairs) -> float:
    now = datetime.now(UTC)
    answer = cloudwatch.get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=metric.name,
        Dimensions=[{"Name": name, "Value": value} for name, value in pairs],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])

"""What the tests of metrics in CloudWatch share."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import boto3
import pytest


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def url(moto):
    return moto.url


@pytest.fixture
def namespace():
    """One for each test: stand-ins keep what earlier tests sent."""
    return f"Test/{uuid4()}"


@pytest.fixture
def read(url, namespace):
    client = boto3.client("cloudwatch", endpoint_url=url)

    def read(metric, **dimensions):
        now = datetime.now(UTC)
        answer = client.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric.name,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum", "SampleCount", "Minimum", "Maximum"],
        )
        points = answer["Datapoints"]
        return {
            "sum": sum(point["Sum"] for point in points),
            "count": sum(point["SampleCount"] for point in points),
            "least": min((point["Minimum"] for point in points), default=None),
            "most": max((point["Maximum"] for point in points), default=None),
            "units": {point["Unit"] for point in points},
        }

    yield read
    client.close()

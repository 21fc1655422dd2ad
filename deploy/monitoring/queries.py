"""How CloudWatch is asked for the metrics of the table, and for those of SQS.

Our metrics have a queue and a task as dimensions, which CloudWatch adds up in expressions only.
"""

from typing import Any

from pipeline.metrics.sinks.cloudwatch_names import NAMESPACE
from pipeline.metrics.table import Metric, Unit

OURS = f"{NAMESPACE}/${{DeploymentId}}"
"""Namespace of a deployment's own metrics, so that two deployments share an account."""
SQS = "AWS/SQS"
"""Namespace of what SQS sends by itself. Its one dimension is QueueName."""

PERIOD_SECONDS = 300


def statistic(metric: Metric) -> str:
    """Return the function of Metrics Insights that suits a metric: counts are added up, levels are not."""
    return "SUM" if metric.unit is Unit.COUNT and not metric.is_level else "MAX"


def total(metric: Metric, by: str = "") -> str:
    """Return the query for the total of a metric, or one for each value of a dimension; for ``Fn::Sub``."""
    grouped = f" GROUP BY {by}" if by else ""
    return f'SELECT {statistic(metric)}({metric.name}) FROM "{OURS}"{grouped}'


def search(metric: Metric, percentile: str) -> str:
    """Return the search for a percentile of a metric, by queue and task; for ``Fn::Sub``."""
    return f"SEARCH('{{{OURS},Queue,Task}} MetricName=\"{metric.name}\"', '{percentile}', {PERIOD_SECONDS})"


def sub(text: str) -> dict[str, Any]:
    """Return a text in which CloudFormation puts in the values of parameters."""
    return {"Fn::Sub": text}


def queue_name(name: str) -> str:
    """Return the name that SQS knows a queue by: our own metrics leave the prefix out."""
    return f"${{DeploymentId}}-{name}"

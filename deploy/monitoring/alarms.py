"""The alarms: four for each queue, and one for each metric that says that something is wrong.

docs/operate/runbook.md has a section for each.
"""

from dataclasses import dataclass
from typing import Any

from deploy.monitoring.queries import OURS, PERIOD_SECONDS, SQS, queue_name, sub, total
from pipeline.metrics import table
from pipeline.metrics.table import Metric

LIMITS = {
    "BacklogPerWorkerLimit": (
        100,
        "Messages that may wait for each task that may run at once, before more workers are needed.",
    ),
    "OldestMessageLimitSeconds": (900, "How old a message may become before it is run."),
    "InFlightLimit": (
        96_000,
        "How many messages of a queue may be in flight. At 120,000 SQS delivers nothing more.",
    ),
    "TasksFailedLimit": (10, "How many tasks may fail in five minutes."),
    "ReleaseLagLimitSeconds": (300, "How long a payload may outlive its task."),
}
"""Parameters of the template: default and description."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm on the total of a metric of the table."""

    metric: Metric
    description: str
    periods: int = 1
    """Number of periods of five minutes in a row that are above the limit."""
    limit: str = ""
    """Name of a parameter; empty for zero."""


ALARMS = (
    Alarm(
        table.TASKS_FAILED,
        "More tasks fail than usual. Logs and results say why.",
        limit="TasksFailedLimit",
    ),
    Alarm(
        table.PAYLOADS_MISSING,
        "A payload expired or was deleted before its message. Check the lifecycle rule and the time chain.",
    ),
    Alarm(table.PAYLOADS_CORRUPT, "A payload is unlike its claim. Find who else writes to the bucket."),
    Alarm(
        table.PAYLOADS_ORPHANED,
        "Payloads are left to the sweep for a quarter of an hour. Check s3:DeleteObject and the store.",
        periods=3,
    ),
    Alarm(table.MESSAGES_REJECTED, "A message was no task of its worker. See the dead letters."),
    Alarm(
        table.MESSAGES_UNSETTLED,
        "Tasks that were acknowledged come again. Check sqs:DeleteMessage, and tasks that run for more than "
        "12 hours.",
    ),
    Alarm(
        table.HEARTBEAT_FAILURES,
        "Visibility timeouts are not extended for a quarter of an hour. Tasks may run twice; check "
        "sqs:ChangeMessageVisibility.",
        periods=3,
    ),
    Alarm(
        table.RELEASE_LAG_SECONDS,
        "Payloads outlive their tasks. The store does not answer, or acknowledgements do not settle.",
        limit="ReleaseLagLimitSeconds",
    ),
    Alarm(
        table.ORPHANS_FOUND,
        "A sweep found payloads that no process would have released. If it happens again, find the cause.",
    ),
    Alarm(
        table.DATA_DROPPED,
        "Metrics have been dropped for an hour. The other alarms may see nothing.",
        periods=12,
    ),
)


def of_queues() -> dict[str, Any]:
    """Return the alarms that each queue has: the body of a loop in which ``Name`` is the queue's."""
    return {
        "Backlog${Name}": _alarm(
            "Backlog-${Name}",
            sub("Too few workers for the queue ${Name}, or none. Start more, or let them scale."),
            _backlog_per_worker(),
            {"Ref": "BacklogPerWorkerLimit"},
            periods=3,
        ),
        "Oldest${Name}": _alarm(
            "Oldest-${Name}",
            sub(
                "A message of the queue ${Name} waits for too long. Too few workers, none, or one that hangs."
            ),
            _of_sqs("ApproximateAgeOfOldestMessage"),
            {"Ref": "OldestMessageLimitSeconds"},
        ),
        "InFlight${Name}": _alarm(
            "InFlight-${Name}",
            sub("The queue ${Name} comes close to the limit of messages in flight. Lower the prefetch."),
            _of_sqs("ApproximateNumberOfMessagesNotVisible"),
            {"Ref": "InFlightLimit"},
        ),
        "DeadLetters${Name}": _alarm(
            "DeadLetters-${Name}",
            sub("Tasks of the queue ${Name} are dead letters. Look with pipeline dlq show."),
            _of_sqs("ApproximateNumberOfMessagesVisible", "${Name}-dlq"),
            0,
        ),
    }


def of_metrics() -> dict[str, Any]:
    """Return the alarms on metrics of the table."""
    return {_name(alarm): _on_total(alarm) for alarm in ALARMS}


def _name(alarm: Alarm) -> str:
    return alarm.metric.name.removesuffix("Seconds")


def _on_total(alarm: Alarm) -> dict[str, Any]:
    query = {
        "Id": "found",
        "Expression": sub(total(alarm.metric)),
        "Period": PERIOD_SECONDS,
        "ReturnData": True,
    }
    limit = {"Ref": alarm.limit} if alarm.limit else 0
    return _alarm(_name(alarm), alarm.description, {"Metrics": [query]}, limit, alarm.periods)


def _of_sqs(metric: str, name: str = "${Name}") -> dict[str, Any]:
    return {**_sqs_metric(metric, name), "Statistic": "Maximum", "Period": PERIOD_SECONDS}


def _sqs_metric(metric: str, name: str = "${Name}") -> dict[str, Any]:
    dimension = {"Name": "QueueName", "Value": sub(queue_name(name))}
    return {"Namespace": SQS, "MetricName": metric, "Dimensions": [dimension]}


def _backlog_per_worker() -> dict[str, Any]:
    """Divide what waits by what may run at once; without workers, all is backlog.

    Each worker reports its number once a minute: five times in a period.
    """
    concurrency = {
        "Namespace": sub(OURS),
        "MetricName": table.WORKER_CONCURRENCY.name,
        "Dimensions": [{"Name": "Queue", "Value": {"Ref": "Name"}}],
    }
    stats = {
        "waiting": (_sqs_metric("ApproximateNumberOfMessagesVisible"), "Maximum"),
        "running": (concurrency, "Sum"),
    }
    measured = [
        {
            "Id": name,
            "ReturnData": False,
            "MetricStat": {"Metric": metric, "Stat": stat, "Period": PERIOD_SECONDS},
        }
        for name, (metric, stat) in stats.items()
    ]
    expression = "waiting / IF(FILL(running, 0) > 5, FILL(running, 0) / 5, 1)"
    return {"Metrics": [*measured, {"Id": "backlog", "Expression": expression, "ReturnData": True}]}


def _alarm(
    name: str, description: Any, measured: dict[str, Any], limit: Any, periods: int = 1
) -> dict[str, Any]:
    actions = {"Fn::If": ["WithTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": sub(f"claimcheck-{name}-${{DeploymentId}}"),
            "AlarmDescription": description,
            **measured,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": limit,
            "EvaluationPeriods": periods,
            "TreatMissingData": "notBreaching",
            "AlarmActions": actions,
            "OKActions": actions,
        },
    }

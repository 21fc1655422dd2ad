"""The dashboard: what SQS says of each queue, and every metric of the table."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.monitoring.alarms import ALARMS
from deploy.monitoring.queries import OURS, PERIOD_SECONDS, SQS, queue_name, search, total
from pipeline.metrics import table
from pipeline.metrics.table import Metric

COLUMNS_COUNT = 3
WIDTH, HEIGHT = 8, 6
"""Size of a widget on CloudWatch's grid of 24 columns."""

HEADING = (
    "# Claim check ${DeploymentId}\n"
    "What each number means is in docs/reference/metrics.md, and what to do is in docs/operate/runbook.md."
)

Line = list[Any]


@dataclass(frozen=True, slots=True)
class Widget:
    """A graph: its title, the label of its axis, and its lines."""

    title: str
    label: str
    lines: Iterable[Line]


def body(queues: Sequence[str]) -> str:
    """Return the body of the dashboard, as JSON in which CloudFormation puts in the values of parameters."""
    heading = {"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": {"markdown": HEADING}}
    drawn = [_placed(number, widget) for number, widget in enumerate([*_of_queues(queues), *_of_metrics()])]
    lines = ",\n".join(json.dumps(each) for each in [heading, *drawn])
    return f'{{"start": "-PT6H", "periodOverride": "inherit", "widgets": [\n{lines}\n]}}\n'


def _placed(number: int, widget: Widget) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS_COUNT)
    return {
        "type": "metric",
        "x": WIDTH * column,
        "y": 2 + HEIGHT * row,
        "width": WIDTH,
        "height": HEIGHT,
        "properties": {
            "title": widget.title,
            "view": "timeSeries",
            "region": "${AWS::Region}",
            "period": PERIOD_SECONDS,
            "stat": "Maximum",
            "metrics": list(widget.lines),
            "yAxis": {"left": {"label": widget.label, "showUnits": False, "min": 0}},
        },
    }


def _of_queues(queues: Sequence[str]) -> Iterable[Widget]:
    each = [line for queue in queues for line in _backlog_per_worker(queue)]
    yield Widget("Messages that wait for each task that may run at once", "messages", each)
    oldest = [_sqs("ApproximateAgeOfOldestMessage", queue, queue) for queue in queues]
    yield Widget("Age of the oldest message", "seconds", oldest)
    dead = [_sqs("ApproximateNumberOfMessagesVisible", f"{queue}-dlq", f"{queue}-dlq") for queue in queues]
    yield Widget("Dead letters", "messages", dead)
    states = {"waiting": "Visible", "in flight": "NotVisible", "not yet due": "Delayed"}
    lengths = [
        _sqs(f"ApproximateNumberOfMessages{state}", queue, f"{queue} {words}")
        for queue in queues
        for words, state in states.items()
    ]
    yield Widget("Messages: waiting, in flight, not yet due", "messages", lengths)
    passed = [
        _sqs(f"NumberOfMessages{done}", queue, f"{queue} {done.lower()}", stat="Sum")
        for queue in queues
        for done in ("Sent", "Deleted")
    ]
    yield Widget("Messages sent and deleted", "messages", passed)
    running = [line for queue in queues for line in _running(queue)]
    yield Widget("Tasks that workers may run at once", "tasks", running)


def _of_metrics() -> Iterable[Widget]:
    yield Widget(
        "Tasks",
        "tasks",
        _totals(table.TASKS_SUCCEEDED, table.TASKS_FAILED, table.TASKS_RETRIED, table.DUPLICATES_IGNORED),
    )
    yield Widget("Failures by task", "tasks", _totals(table.TASKS_FAILED, by="Task"))
    yield Widget("Run time", "seconds", _percentiles(table.RUN_SECONDS, percentiles=("p50", "p95")))
    yield Widget(
        "Payloads",
        "payloads",
        _totals(
            table.PAYLOADS_OFFLOADED, table.PAYLOADS_REUSED, table.BODIES_INLINE, table.PAYLOADS_RELEASED
        ),
    )
    yield Widget(
        "Store",
        "seconds",
        [*_percentiles(table.UPLOAD_SECONDS, table.REHYDRATE_SECONDS), _alone(table.RELEASE_SECONDS, "p95")],
    )
    yield Widget("Codec", "seconds", _percentiles(table.ENCODE_SECONDS, table.DECODE_SECONDS))
    yield Widget("Sizes", "bytes", _percentiles(table.PAYLOAD_BYTES, table.WIRE_BYTES))
    handles = [_alone(each, "p95") for each in (table.HANDLE_STORED_BYTES, table.HANDLE_READ_BYTES)]
    yield Widget("Handles", "bytes", handles)
    lags = [_alone(table.RELEASE_LAG_SECONDS, each) for each in ("p50", "p95", "Maximum")]
    yield Widget("From a task's end until its payload is gone", "seconds", lags)
    seen = (table.QUEUE_BACKLOG, table.MESSAGES_IN_FLIGHT, table.DEAD_LETTERS)
    yield Widget("Queues as workers see them", "messages", _totals(*seen, by="Queue"))
    yield Widget("Messages in which a door found no task", "messages", _totals(table.MESSAGES_WITHOUT_TASK))
    yield Widget(
        "Should be zero", "in five minutes", _totals(*(each.metric for each in ALARMS if not each.limit))
    )


def _sqs(metric: str, queue: str, label: str, **options: Any) -> Line:
    return [SQS, metric, "QueueName", queue_name(queue), {"label": label, **options}]


def _alone(metric: Metric, stat: str) -> Line:
    return [OURS, metric.name, {"label": f"{metric.name} {stat}", "stat": stat}]


def _expression(name: str, expression: str, label: str) -> Line:
    """Return the line of an expression; an id begins with a small letter."""
    return [{"id": name[0].lower() + name[1:], "expression": expression, "label": label}]


def _totals(*metrics: Metric, by: str = "") -> list[Line]:
    return [_expression(each.name, total(each, by), each.name) for each in metrics]


def _percentiles(*metrics: Metric, percentiles: Sequence[str] = ("p95",)) -> list[Line]:
    return [
        _expression(f"{each.name}_{stat}", search(each, stat), f"{each.name} {stat}")
        for each in metrics
        for stat in percentiles
    ]


def _concurrency(queue: str) -> tuple[Line, str]:
    """Return the line of what workers report once a minute, and the expression for their number at once."""
    name = f"running_{queue}"
    hidden = {"id": name, "stat": "Sum", "visible": False}
    line = [OURS, table.WORKER_CONCURRENCY.name, "Queue", queue, hidden]
    return line, f"{name} / (PERIOD({name}) / 60)"


def _running(queue: str) -> Iterator[Line]:
    line, at_once = _concurrency(queue)
    yield line
    yield _expression(f"now_{queue}", at_once, queue)


def _backlog_per_worker(queue: str) -> Iterator[Line]:
    waiting = f"waiting_{queue}"
    line, at_once = _concurrency(queue)
    yield _sqs("ApproximateNumberOfMessagesVisible", queue, queue, id=waiting, visible=False)
    yield line
    yield _expression(f"backlog_{queue}", f"{waiting} / ({at_once})", queue)

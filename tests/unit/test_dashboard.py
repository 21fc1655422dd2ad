"""Dashboard, alarms and pages name only what exists: our metrics, and those that SQS itself sends.

A real run in tests/integration/test_every_metric.py shows that each metric of the table is sent.
"""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from stacks import looped

from deploy.monitoring.queries import OURS as NAMESPACE
from deploy.monitoring.template import template
from pipeline.metrics import Unit
from pipeline.metrics.sinks.cloudwatch_names import DIMENSIONS
from pipeline.metrics.table import METRICS
from settings import QUEUES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

SQS_METRICS = {
    "ApproximateAgeOfOldestMessage",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesVisible",
    "NumberOfMessagesDeleted",
    "NumberOfMessagesSent",
}
"""What SQS sends to CloudWatch by itself, as far as it is used here; the one dimension is QueueName.
Source: SQS Developer Guide, "Available CloudWatch metrics for Amazon SQS"."""

OURS = {metric.name: metric for metric in METRICS}
KNOWN = {NAMESPACE: set(OURS), "AWS/SQS": SQS_METRICS}

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), DEPLOY / "README.md"]
NOT_METRICS = {
    "BacklogPerWorker",
    "DelaySeconds",
    "MaxConcurrency",
    "TaskTimeLimitSeconds",
}
"""What looks like a metric, and is a parameter of SQS or of a template."""
SUFFIXES = (
    "Seconds",
    "Bytes",
    "Found",
    "Failures",
    "Backlog",
    "Letters",
    "Concurrency",
    "Dropped",
    "Ignored",
)
MIDDLES = ("Payloads", "Messages", "Tasks", "Bodies", "PerWorker")


TEXT = (DEPLOY / "monitoring.yaml").read_text()
TEMPLATE = yaml.safe_load(TEXT)
RESOURCES = dict(TEMPLATE["Resources"])
DASHBOARD = json.loads(RESOURCES.pop("Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"])
WIDGETS = [widget for widget in DASHBOARD["widgets"] if widget["type"] == "metric"]
LOOP = RESOURCES.pop("Fn::ForEach::Queues")
ALARMS = {name: alarm["Properties"] for name, alarm in (LOOP[2] | RESOURCES).items()}


def plain(value):
    """Return a text of a template as CloudFormation gets it, without the function around it."""
    text = next(iter(value.values())) if isinstance(value, dict) else value
    return text[0] if isinstance(text, list) else text


def in_expression(text):
    """Yield namespace, metric, dimensions and statistic of each metric that an expression searches for."""
    for stat, name, space, by in re.findall(
        r'SELECT (\w+)\((\w+)\) FROM "([^"]+)"(?: GROUP BY (\w+))?', text
    ):
        yield space, name, {by} - {""}, stat
    for space, dims, name, stat in re.findall(
        r"SEARCH\('\{([^,]+),([^}]*)\} MetricName=\"(\w+)\"', '(\w+)', \d+\)", text
    ):
        yield space, name, set(dims.split(",")) - {""}, stat


def on_dashboard():
    for widget in WIDGETS:
        default = widget["properties"]["stat"]
        for entry in widget["properties"]["metrics"]:
            *names, options = entry if isinstance(entry[-1], dict) else [*entry, {}]
            if names:
                space, name, *pairs = names
                yield space, name, set(pairs[::2]), options.get("stat", default)
            else:
                yield from in_expression(options["expression"])


def in_alarms():
    for alarm in ALARMS.values():
        if "MetricName" in alarm:
            dims = {each["Name"] for each in alarm["Dimensions"]}
            yield plain(alarm["Namespace"]), alarm["MetricName"], dims, alarm["Statistic"]
        for query in alarm.get("Metrics", ()):
            yield from in_expression(plain(query.get("Expression", "")))
            if stat := query.get("MetricStat"):
                metric = stat["Metric"]
                dims = {each["Name"] for each in metric["Dimensions"]}
                yield plain(metric["Namespace"]), metric["MetricName"], dims, stat["Stat"]


CHOSEN = [*on_dashboard(), *in_alarms()]


def test_what_is_asked_for_is_found_at_all():
    """Reading the files finds what a reader sees: nothing is left out of the checks below."""
    text = TEXT.replace('\\"', '"')

    assert text.count("SELECT") + text.count("SEARCH") == len(list(in_expression(text))) > 20
    assert text.count("AWS/SQS") == sum(space == "AWS/SQS" for space, *_ in CHOSEN) > 10
    assert len(CHOSEN) > 60


@pytest.mark.parametrize(("space", "name", "dims", "stat"), CHOSEN)
def test_everything_asked_for_exists(space, name, dims, stat):
    """Each metric has a namespace and dimensions under which it is sent."""
    assert name in KNOWN[space]
    assert dims <= (set(DIMENSIONS) if space == NAMESPACE else {"QueueName"})
    if space == "AWS/SQS":
        assert dims == {"QueueName"}


@pytest.mark.parametrize(("space", "name", "dims", "stat"), CHOSEN)
def test_statistics_suit_their_metrics(space, name, dims, stat):
    """Amounts are summed; levels, sizes and durations are not."""
    kind = stat.lower()
    if space == NAMESPACE and OURS[name].unit is not Unit.COUNT:
        assert kind in {"p50", "p95", "maximum", "max"}
    elif name in {"QueueBacklog", "MessagesInFlight", "DeadLetters"} or name.startswith("Approximate"):
        assert kind in {"maximum", "max"}
    else:
        assert kind == "sum"


def test_the_dashboard_shows_every_metric():
    """What is worth recording is worth a place on the dashboard."""
    assert {name for space, name, *_ in on_dashboard() if space == NAMESPACE} == OURS.keys()


def test_the_dashboard_shows_every_queue():
    """Each queue of the settings and its dead-letter queue are on the dashboard and in the alarms."""
    text = json.dumps(DASHBOARD)

    for queue in QUEUES:
        assert text.count(f'"QueueName", "${{DeploymentId}}-{queue}"') > 1
        assert f'"QueueName", "${{DeploymentId}}-{queue}-dlq"' in text
    assert LOOP[1] == list(QUEUES)


def test_the_file_is_what_the_table_makes():
    """The template is what ``make`` writes from the table of metrics and the queues of the settings."""
    assert template(QUEUES) == TEXT, "run: python -m deploy.monitoring default,bulk > deploy/monitoring.yaml"


def test_many_queues_fit():
    """The template for fifteen queues is one that CloudFormation takes from a file."""
    assert len(template([f"queue{number}" for number in range(15)])) < 51_200


def test_widgets_do_not_overlap():
    """Widgets lie side by side within the 24 columns that there are."""
    for one, other in combinations(DASHBOARD["widgets"], 2):
        beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        above = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]

        assert beside or above
    assert all(widget["x"] + widget["width"] <= 24 for widget in DASHBOARD["widgets"])


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget["properties"]["title"])
def test_widgets_are_complete(widget):
    """A widget has what CloudWatch requires, and its expressions name only what it has, by proper ids."""
    properties = widget["properties"]
    options = [entry[-1] for entry in properties["metrics"] if isinstance(entry[-1], dict)]
    ids = [each["id"] for each in options if "id" in each]

    assert properties.keys() >= {"title", "region", "metrics", "period", "stat", "view"}
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]\w*", each) for each in ids)
    for expression in (each["expression"] for each in options if "expression" in each):
        if not re.match("SELECT|SEARCH", expression):
            assert set(re.findall(r"\b[a-z]\w*", expression)) <= set(ids)


@pytest.mark.parametrize("name", ALARMS)
def test_alarms_are_complete(name):
    """An alarm says what to do, notifies the topic of its start and its end, and is quiet without data."""
    alarm = ALARMS[name]

    assert str(alarm["AlarmDescription"]).count(".") >= 1
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert "TopicArn" in str(alarm["AlarmActions"])
    assert alarm["AlarmActions"] == alarm["OKActions"]
    assert sum(query["ReturnData"] is True for query in alarm.get("Metrics", [{"ReturnData": True}])) == 1


def test_what_must_not_happen_alarms():
    """Every metric that should stay at zero has an alarm."""
    watched = {name for _, name, *_ in in_alarms()}

    assert watched >= {
        "ApproximateAgeOfOldestMessage", "DataDropped", "HeartbeatFailures", "MessagesRejected",
        "MessagesUnsettled", "OrphansFound", "PayloadsCorrupt", "PayloadsMissing", "PayloadsOrphaned",
        "ReleaseLagSeconds", "TasksFailed", "WorkerConcurrency",
    }  # fmt: skip


def test_every_parameter_is_used():
    """No parameter of the template is there for nothing."""
    assert all(re.search(rf"(Ref: |\${{){name}\b", TEXT) for name in TEMPLATE["Parameters"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_pages_name_metrics_that_exist(page):
    """What looks like a metric on a page is one: ours, or one that SQS sends."""
    words = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", page.read_text()))
    looking = {word for word in words if word.endswith(SUFFIXES) or word.startswith(MIDDLES)}

    assert looking - NOT_METRICS <= OURS.keys() | SQS_METRICS


def test_metrics_are_recognised_on_pages():
    """The check above would see every metric of the table, were it misspelt at its other end."""
    assert all(name.endswith(SUFFIXES) or name.startswith(MIDDLES) for name in OURS)


def test_alarms_are_on_the_page():
    """The runbook has a section for each alarm, and one for those that each queue has."""
    page = (ROOT / "docs" / "operate" / "runbook.md").read_text()
    rows = re.findall(r"^### (\w+)$", page, re.MULTILINE)

    assert set(rows) == {name.removesuffix("${Name}") for name in ALARMS}


def test_the_policies_that_scale_ask_for_what_exists():
    """What workers are scaled by is computed from metrics that exist, of one queue, with our names."""
    resources = looped("workers.yaml", "Scaling")
    tracking = resources["Track${Name}"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    for metrics in (
        tracking["CustomizedMetricSpecification"]["Metrics"],
        resources["Waiting${Name}"]["Properties"]["Metrics"],
    ):
        stats = {each["Id"]: each["MetricStat"]["Metric"] for each in metrics if "MetricStat" in each}
        [expression] = (each["Expression"] for each in metrics if "Expression" in each)

        assert set(re.findall(r"\b[a-z]\w*", plain(expression))) == stats.keys()
        for metric in stats.values():
            assert metric["MetricName"] in KNOWN[plain(metric["Namespace"])]
            assert {each["Name"] for each in metric["Dimensions"]} <= {*DIMENSIONS, "QueueName"}
        assert [each["ReturnData"] for each in metrics].count(True) == 1


def test_one_namespace():
    """The namespace of the sinks is the one of dashboard, alarms and policies."""
    found = {space for space, *_ in CHOSEN} - {"AWS/SQS"}

    assert found == {NAMESPACE}
    assert f"cloudwatch:namespace: !Sub {NAMESPACE}\n" in (DEPLOY / "roles.yaml").read_text()

"""Dashboard and alarms of ``make deploy-core``, for any list of queues."""

import json
import re

import pytest
import yaml
from sample_fixtures import entered
from stacks import Deployment, core_for_standin

from deploy.monitoring.template import template
from deploy.templates import resolved

pytestmark = pytest.mark.aws

QUEUE_NAMES = ("mail", "Reports", "video4k")


def test_any_queues_are_watched(ministack, monkeypatch, tmp_path):
    """Each queue of a deployment is on its dashboard and has alarms, which notify the topic."""
    aws = entered(ministack, monkeypatch)
    deployment = Deployment(aws)
    topic = aws.client("sns").create_topic(Name="operators")["TopicArn"]
    folder = core_for_standin(tmp_path, QUEUE_NAMES)
    queues = ",".join(QUEUE_NAMES)
    deployment.make("deploy-core", QUEUES=queues, TEMPLATES=folder, PARAMETERS=f"AlarmTopicArn={topic}")

    cloudwatch = aws.client("cloudwatch")
    body = cloudwatch.get_dashboard(DashboardName=f"claimcheck-{deployment.id}")["DashboardBody"]
    shown = set(re.findall(r'"QueueName", "([^"]+)"', json.dumps(json.loads(body))))
    prefixed = {f"{deployment.id}-{name}" for name in QUEUE_NAMES}
    assert shown == prefixed | {f"{name}-dlq" for name in prefixed}
    assert shown == {url.rpartition("/")[2] for url in aws.client("sqs").list_queues()["QueueUrls"]}
    alarms = {each["AlarmName"]: each for each in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert alarms.keys() == {
        f"claimcheck-{kind}-{name}-{deployment.id}"
        for kind in ("Oldest", "InFlight", "DeadLetters")
        for name in QUEUE_NAMES
    }
    assert all(each["AlarmActions"] == each["OKActions"] == [topic] for each in alarms.values())


def test_cloudwatch_takes_each_alarm(moto_aws):
    """What CloudFormation hands to CloudWatch for each alarm, expressions too, is what its API takes."""
    content = yaml.safe_load(template(["mail"]))
    loop = content["Resources"].pop("Fn::ForEach::Queues")[2]
    content["Resources"].pop("Dashboard")
    defaults = {name: each["Default"] for name, each in content["Parameters"].items()}
    topic = {"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:x", "WithTopic": True}
    cloudwatch = moto_aws.client("cloudwatch")
    alarms = [each["Properties"] for each in (loop | content["Resources"]).values()]
    for alarm in alarms:
        cloudwatch.put_metric_alarm(**resolved(alarm, {**defaults, **topic, "Name": "mail"}))

    found = cloudwatch.describe_alarms()["MetricAlarms"]
    assert len(found) == len(alarms) == 14
    [backlog] = [each for each in found if each["AlarmName"] == "claimcheck-Backlog-mail-demo"]
    assert [each["Id"] for each in backlog["Metrics"]] == ["waiting", "running", "backlog"]

"""The template of CloudFormation: a dashboard, and the alarms."""

from collections.abc import Sequence
from typing import Any

import yaml

from deploy.monitoring import alarms, dashboard
from deploy.monitoring.queries import sub

HEADING = """\
# Written by make from deploy/monitoring, the table of metrics and the queues of settings.py: change those.
"""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def template(queues: Sequence[str]) -> str:
    """Return the template for queues, by their names without prefix."""
    content = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::LanguageExtensions",
        "Description": "A dashboard of queues, workers, tasks and payloads, and alarms.",
        "Parameters": _parameters(),
        "Conditions": {"WithTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]}},
        "Resources": {
            "Dashboard": _dashboard(queues),
            "Fn::ForEach::Queues": ["Name", list(queues), alarms.of_queues()],
            **alarms.of_metrics(),
        },
    }
    return HEADING + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110)


def _parameters() -> dict[str, Any]:
    """Return the parameters, which have the names that they have in the other templates."""
    return {
        "DeploymentId": {
            "Type": "String",
            "Default": "demo",
            "AllowedPattern": "[a-z][a-z0-9]{0,15}",
            "Description": "That of the stack of core.yaml.",
        },
        "AlarmTopicArn": {
            "Type": "String",
            "Default": "",
            "Description": "SNS topic for the start and end of every alarm; empty for none.",
        },
        **{
            name: {"Type": "Number", "Default": default, "Description": description}
            for name, (default, description) in alarms.LIMITS.items()
        },
    }


def _dashboard(queues: Sequence[str]) -> dict[str, Any]:
    return {
        "Type": "AWS::CloudWatch::Dashboard",
        "Properties": {
            "DashboardName": sub("claimcheck-${DeploymentId}"),
            "DashboardBody": sub(dashboard.body(queues)),
        },
    }

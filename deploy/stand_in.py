"""Prints a template as a stand-in for AWS can create it.

``make`` runs ``python -m deploy.stand_in deploy/core.yaml Name=value …`` where AWS_ENDPOINT_URL is set. What
no stand-in creates is left out; deploy/README.md lists it.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.templates import parsed

NUMBERS = frozenset({"DesiredCount", "MaximumConcurrency"})
"""Properties that are parameters: ministack hands a parameter on as a text, and fails with it here."""


def created(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the resources, and loops of resources, that a stand-in creates."""
    kept: dict[str, Any] = {}
    for name, resource in resources.items():
        if not name.startswith("Fn::ForEach::"):
            if not _is_missing(resource):
                kept[name] = resource
        elif body := created(resource[2]):
            kept[name] = [*resource[:2], body]
    return kept


def _is_missing(resource: Mapping[str, Any]) -> bool:
    """Say whether no stand-in has it: Application Auto Scaling, and alarms with expressions."""
    is_scaling = resource["Type"].startswith("AWS::ApplicationAutoScaling::")
    return is_scaling or (
        resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    )


def with_numbers(value: Any, numbers: Mapping[str, float]) -> Any:
    """Return a value whose ``NUMBERS`` are those of parameters, in the place of their names."""
    if isinstance(value, Mapping):
        return {
            name: numbers[each["Ref"]] if name in NUMBERS else with_numbers(each, numbers)
            for name, each in value.items()
        }
    return [with_numbers(each, numbers) for each in value] if isinstance(value, list) else value


def for_stand_in(text: str, given: Mapping[str, str]) -> str:
    """Return a template without what no stand-in creates; ``given`` are parameters, by name."""
    content = parsed(text)
    numbers = {
        name: yaml.safe_load(given.get(name, str(parameter["Default"])))
        for name, parameter in content["Parameters"].items()
        if parameter["Type"] == "Number"
    }
    content["Resources"] = with_numbers(created(content["Resources"]), numbers)
    return yaml.safe_dump(content, sort_keys=False)


def main(words: Sequence[str]) -> None:
    """Print the template of a path, with parameters as ``Name=value``."""
    path, *parameters = words
    given = dict(each.split("=", 1) for each in parameters if "=" in each)
    sys.stdout.write(for_stand_in(Path(path).read_text(encoding="utf-8"), given))


if __name__ == "__main__":
    main(sys.argv[1:])

"""How the shipped workers scale: read from ``deploy/workers.yaml``, so that nothing has two places."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.templates import template

PERIOD_SECONDS = 60
"""Period of the metrics that scale, and of the alarms on them."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What a queue's service scales by. Cooldowns are in periods of the metrics."""

    metric: str
    """Expression that target tracking keeps at the target."""
    target: float
    out_cooldown_periods: int
    in_cooldown_periods: int
    first_metric: str
    """Expression above 0 when a message waits and no worker runs."""
    first_workers: int
    """How many workers that adds."""
    first_cooldown_periods: int
    min_workers: int
    max_workers: int
    concurrency: int
    """Tasks that a worker runs at once."""


def scaling(**parameters: float) -> Scaling:
    """Return how the services of ``deploy/workers.yaml`` scale.

    Args:
        parameters: values of the template's parameters in place of their defaults.
    """
    whole = template("workers.yaml")
    values = {name: each.get("Default") for name, each in whole["Parameters"].items()} | parameters
    _, _, resources = whole["Resources"]["Fn::ForEach::Scaling"]
    tracking = resources["Track${Name}"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    first = resources["First${Name}"]["Properties"]["StepScalingPolicyConfiguration"]
    metrics = tracking["CustomizedMetricSpecification"]["Metrics"]
    return Scaling(
        metric=_expression(metrics, values),
        target=_number(tracking["TargetValue"], values),
        out_cooldown_periods=tracking["ScaleOutCooldown"] // PERIOD_SECONDS,
        in_cooldown_periods=tracking["ScaleInCooldown"] // PERIOD_SECONDS,
        first_metric=_expression(resources["Waiting${Name}"]["Properties"]["Metrics"], values),
        first_workers=first["StepAdjustments"][0]["ScalingAdjustment"],
        first_cooldown_periods=first["Cooldown"] // PERIOD_SECONDS,
        min_workers=int(values["MinWorkers"]),
        max_workers=int(values["MaxWorkers"]),
        concurrency=int(values["Concurrency"]),
    )


def sweep_seconds() -> int:
    """Return how often the sweep runs, which asks SQS for every queue."""
    expression = template("workers.yaml")["Resources"]["Regular"]["Properties"]["ScheduleExpression"]
    number, unit = re.fullmatch(r"rate\((\d+) (hour|day)s?\)", expression).groups()  # type: ignore[union-attr]
    return int(number) * {"hour": 3_600, "day": 86_400}[unit]


def _number(value: Any, values: Mapping[str, Any]) -> float:
    return float(values[value["Ref"]] if isinstance(value, dict) else value)


def _expression(metrics: list[dict[str, Any]], values: Mapping[str, Any]) -> str:
    [found] = [each["Expression"] for each in metrics if each["ReturnData"]]
    text: str = found["Fn::Sub"] if isinstance(found, dict) else found
    return re.sub(r"\$\{(\w+)\}", lambda match: str(values[match[1]]), text)

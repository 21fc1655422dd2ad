"""How the shipped workers scale: read from ``deploy/workers.yaml``, so that nothing has two places."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.templates import resolved, template

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


def scaling(queue: str = "default", /, **given: Any) -> Scaling:
    """Return how a queue's service in ``deploy/workers.yaml`` scales.

    Args:
        queue: name of the queue, without prefix.
        given: values of the template's parameters and mappings in place of its own.
    """
    whole = template("workers.yaml")
    defaults = {name: each.get("Default") for name, each in whole["Parameters"].items()}
    values = {**defaults, **whole["Mappings"], "Name": queue, **given}
    _, _, resources = whole["Resources"]["Fn::ForEach::Scaling"]
    track, first, waiting = (
        resources[f"{kind}${{Name}}"]["Properties"] for kind in ("Track", "First", "Waiting")
    )
    tracking = track["TargetTrackingScalingPolicyConfiguration"]
    step = first["StepScalingPolicyConfiguration"]
    return Scaling(
        metric=_expression(tracking["CustomizedMetricSpecification"]["Metrics"], values),
        target=float(resolved(tracking["TargetValue"], values)),
        out_cooldown_periods=tracking["ScaleOutCooldown"] // PERIOD_SECONDS,
        in_cooldown_periods=tracking["ScaleInCooldown"] // PERIOD_SECONDS,
        first_metric=_expression(waiting["Metrics"], values),
        first_workers=step["StepAdjustments"][0]["ScalingAdjustment"],
        first_cooldown_periods=step["Cooldown"] // PERIOD_SECONDS,
        min_workers=int(values["MinWorkers"]),
        max_workers=int(values["MaxWorkers"]),
        concurrency=int(values["Concurrency"]),
    )


def sweep_seconds() -> int:
    """Return how often the sweep runs, which asks SQS for every queue."""
    expression = template("workers.yaml")["Resources"]["Regular"]["Properties"]["ScheduleExpression"]
    number, unit = re.fullmatch(r"rate\((\d+) (hour|day)s?\)", expression).groups()  # type: ignore[union-attr]
    return int(number) * {"hour": 3_600, "day": 86_400}[unit]


def _expression(metrics: list[dict[str, Any]], values: Mapping[str, Any]) -> str:
    [text] = [resolved(each["Expression"], values) for each in metrics if each["ReturnData"]]
    return str(text)

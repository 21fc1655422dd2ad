"""The policies: those of deploy/, and others that show why these are as they are."""

from collections import deque
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import yaml

from deploy.templates import DEPLOY
from tasks.demo.scaling.shipped import PERIOD_SECONDS, Scaling, scaling, sweep_seconds
from tasks.demo.scaling.tracking import Reading, TargetTracking

HPA_SECONDS = 15
"""How often Kubernetes decides."""
STABLE_SECONDS = 300
"""It scales in to the most that it wanted in this time. Source: Kubernetes, "Horizontal Pod Autoscaling"."""
TOLERANCE = 0.1


@dataclass
class Tracking:
    """Target tracking in AWS: its metrics are those of the minute before."""

    shipped: Scaling = field(default_factory=scaling)
    period_seconds: int = PERIOD_SECONDS
    delay_seconds: int = PERIOD_SECONDS
    start_seconds: int = 60
    """Fargate starts a container and pulls its image."""
    asked_seconds: int = field(default_factory=sweep_seconds)

    def __post_init__(self) -> None:
        self._tracking = TargetTracking(self.shipped)

    def wanted(self, reading: Reading, workers: int) -> int:
        """Return how many workers there should be."""
        return self._tracking.wanted(reading, workers)


@dataclass
class Fixed:
    """As many workers all day."""

    workers: int
    period_seconds: int = PERIOD_SECONDS
    delay_seconds: int = 0
    start_seconds: int = 60
    asked_seconds: int = 0

    def wanted(self, _: Reading, __: int) -> int:
        """Return this number."""
        return self.workers


class Keda:
    """KEDA with SQS's numbers: Kubernetes decides between one and the most, KEDA between none and one."""

    period_seconds = HPA_SECONDS
    delay_seconds = 0
    start_seconds = 30
    """A node has room and the image."""
    asked_seconds = 0

    def __init__(self) -> None:
        spec = _scaled_object()
        self._target = float(spec["triggers"][0]["metadata"]["queueLength"])
        self._least, self._most = spec["minReplicaCount"], spec["maxReplicaCount"]
        self._idle = spec["cooldownPeriod"] // HPA_SECONDS
        self._wanted: deque[int] = deque(maxlen=STABLE_SECONDS // HPA_SECONDS)
        self._empty = 0

    def wanted(self, reading: Reading, workers: int) -> int:
        """Return how many workers there should be."""
        messages = (reading.waiting or 0) + (reading.hidden or 0)
        self._empty = 0 if messages else self._empty + 1
        if self._empty > self._idle or not workers:
            self._wanted.clear()
            return max(int(messages > 0), self._least)
        wanted = max(min(ceil(messages / self._target), self._most), 1)
        if abs(messages / self._target / workers - 1) <= TOLERANCE:
            wanted = workers
        self._wanted.append(wanted)
        if wanted > workers:  # It doubles, or adds four, every 15 seconds.
            return min(wanted, max(2 * workers, workers + 4))
        return min(workers, max(self._wanted))


def _scaled_object() -> dict[str, Any]:
    objects = yaml.safe_load_all((DEPLOY / "kubernetes/workers.yaml").read_text())
    found: dict[str, Any] = next(each for each in objects if each["kind"] == "ScaledObject")["spec"]
    return found


def backlog_alone(target: float = 50) -> Scaling:
    """Return the policy of AWS's tutorials: messages that wait, for each worker."""
    return replace(scaling(), metric="waiting / (FILL(slots, REPEAT) / 2)", target=target)


def held() -> Scaling:
    """Return a policy that keeps all workers while any task runs."""
    metric = "IF(hidden > 0, IF(waiting > 0, waiting / IF(FILL(slots, 0) > 0, FILL(slots, 0) / 2, 1), 50), 0)"
    return replace(scaling(), metric=metric, target=50, out_cooldown_periods=1)

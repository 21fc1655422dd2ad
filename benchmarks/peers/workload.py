"""What every peer does: the same arguments, and a task that reads them and writes down when it ended."""

import json
import os
import random
import string
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.measure import records

OFFLOAD_BYTES = 262_144
"""Above it, each peer that has a threshold uses S3: the default here and in AWS's extended client."""
WARM_UP_TASKS = 20
"""Run before rates and CPU are measured."""
STAMP = struct.Struct("d")


def _text(size: int) -> str:
    letters = string.ascii_letters + string.digits + "+/"
    return "".join(random.Random(1).choices(letters, k=size))


def argument(payload: str) -> Any:
    """Return the argument of each task."""
    if payload == "300 KB of text":
        return _text(300_000)
    rows = records(2_000)
    size = 1_000 if payload == "1 KB" else 300_000
    return rows[: size * len(rows) // len(json.dumps(rows))]


@dataclass(frozen=True)
class Scenario:
    """One workload at one latency."""

    payload: str
    delay_ms: int
    tasks: int
    baseline: str
    """The peer that ratios refer to."""

    @property
    def name(self) -> str:
        """Return the heading of its table."""
        return f"{self.payload}, {self.delay_ms} ms"


SCENARIOS: Sequence[Scenario] = (
    Scenario("1 KB", 0, 300, "stock Celery on SQS"),
    Scenario("1 KB", 20, 100, "stock Celery on SQS"),
    Scenario("300 KB of text", 0, 100, "naive serializer"),
    Scenario("300 KB of text", 20, 50, "naive serializer"),
    Scenario("300 KB of records", 0, 100, "naive serializer"),
)


@cache
def _stamps() -> int:
    return os.open(os.environ["BENCH_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def run(value: Any) -> None:
    """Read the argument, and append the time. Process: the one that executes tasks."""
    if len(value) == 0:
        raise ValueError("the argument is empty")
    os.write(_stamps(), STAMP.pack(time.monotonic()))


def stamps(path: Path) -> list[float]:
    """Return the times at which tasks ended, in order."""
    data = path.read_bytes() if path.exists() else b""
    return sorted(stamp for (stamp,) in STAMP.iter_unpack(data))

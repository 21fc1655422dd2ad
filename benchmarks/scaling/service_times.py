"""How long the demo's tasks take: CPU time of arguments and task, the mean of each queue."""

from collections import defaultdict
from collections.abc import Callable
from statistics import mean, median
from time import process_time
from typing import Any

from benchmarks.scale.model import ROUND_TRIP_SECONDS
from pipeline.claimcheck.codec import Codec
from pipeline.serializer.serializer import KOMBU_TYPES
from settings import ROUTES
from tasks.demo.workload import KINDS, MIX

REPETITIONS = 3


def measured() -> dict[str, float]:
    """Return seconds of CPU for a task, by queue. The median of three runs counts for each task."""
    codec, seconds = Codec(KOMBU_TYPES), defaultdict(list)
    for seed, (name, size) in enumerate(MIX):
        kind = KINDS[name]
        encoding, body = codec.encode([list(kind.arguments(size, seed)), {}])

        def run(kind: Any = kind, body: bytes = body, encoding: str = encoding) -> None:
            arguments, _ = codec.decode(encoding, body)
            kind.task.run(*arguments)

        seconds[_queue(kind.task.name)].append(median(_cpu_seconds(run) for _ in range(REPETITIONS)))
    return {queue: round(mean(found), 4) for queue, found in seconds.items()}


def _cpu_seconds(run: Callable[[], None]) -> float:
    begin = process_time()
    run()
    return process_time() - begin


def _queue(task: str) -> str:
    return next(route["queue"] for pattern, route in ROUTES.items() if task.startswith(pattern[:-1]))


def service_seconds(cpu_seconds: float, concurrency: int, cpu_units: int) -> float:
    """Return how long a slot of a worker has a task.

    Args:
        cpu_seconds: of the task, measured.
        concurrency: tasks that the worker runs at once.
        cpu_units: of the worker, 1,024 for a vCPU: all its tasks share them.
    """
    return cpu_seconds * max(concurrency * 1_024 / cpu_units, 1) + ROUND_TRIP_SECONDS

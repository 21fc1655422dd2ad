"""A producer process: it warms up, waits for a line, publishes as that says, and prints figures as JSON.

The figures are seconds, CPU seconds, milliseconds of each call, and bytes of memory above what there was.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.memory import peak_bytes, reset_peak, resident_bytes
from benchmarks.peers.settings import Settings
from benchmarks.peers.workload import WARM_UP_TASKS


def published(peer: Any, value: Any, count: int, every_seconds: float | None) -> list[float]:
    """Publish together, or one by one with that interval; return the milliseconds of each call."""
    if every_seconds is None:
        return [_milliseconds(lambda: peer.together(value, count))]
    return [_milliseconds(lambda: peer.one(value)) for _ in _paced(count, every_seconds)]


def _paced(count: int, every_seconds: float) -> Iterator[None]:
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number * every_seconds - time.monotonic()))
        yield


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1_000


def main() -> None:
    """Obey one order."""
    settings = Settings.read()
    peer = importlib.import_module(settings.module)
    peer.together(settings.payload.warm_up().argument(), WARM_UP_TASKS)
    value = settings.payload.argument()
    print("ready", flush=True)
    order = json.loads(sys.stdin.readline())
    reset_peak()
    before, start, cpu = resident_bytes(), time.perf_counter(), time.process_time()
    calls = published(peer, value, **order)
    figures = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "calls_ms": calls,
        "grown_bytes": peak_bytes() - before,
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()

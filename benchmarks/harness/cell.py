"""One peer, one scenario, once."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any
from uuid import uuid4

from benchmarks.harness.bench import Bench, RedisUse
from benchmarks.harness.processes import Producer, Worker, await_condition
from benchmarks.harness.scenarios import Scenario
from benchmarks.peers.peers import Peer
from benchmarks.peers.settings import Settings
from benchmarks.peers.standins import ROOT
from benchmarks.peers.workload import WARM_UP_TASKS, Stamp, stamps

DRAIN_SECONDS = 90.0
SETTLE_SECONDS = 20.0
"""How long workers may take after the last task to delete messages and payloads."""
IDLE_SECONDS = 20.0
MEGABYTE = 1_000_000
LARGE_BYTES = 8 * MEGABYTE

Figures = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """Processes that have warmed up."""

    bench: Bench
    peer: Peer
    scenario: Scenario
    settings: Settings
    producer: Producer
    workers: Sequence[Worker]

    def stamps(self) -> list[Stamp]:
        """Return the times of tasks after those that warmed up."""
        return stamps(Path(self.settings.stamps))[WARM_UP_TASKS:]

    def drained(self, count: int) -> None:
        """Wait until so many tasks have run.

        Raises:
            RuntimeError: a process ended, or they take too long.
        """
        if not await_condition(lambda: len(self.stamps()) >= count, DRAIN_SECONDS, *self.workers):
            raise RuntimeError(f"{len(self.stamps())} of {count} tasks have run: {self.workers[0].log()}")

    def settled(self) -> int:
        """Wait for the end of all deletes, and return how many payloads are left."""
        bucket, queue = self.settings.bucket, self.settings.queue
        if not self.peer.uses_redis:
            await_condition(lambda: not self.bench.messages(queue), SETTLE_SECONDS)
        if self.peer.releases:
            await_condition(lambda: not self.bench.payloads(bucket), SETTLE_SECONDS)
        return self.bench.payloads(bucket)


def measure(bench: Bench, peer: Peer, scenario: Scenario) -> Figures:
    """Return the figures of one cell."""
    bench.reset()
    with _warm(bench, peer, scenario) as cell:
        return {"tasks": _tasks, "idle": _idle, "status": _status}[scenario.measure](cell)


@contextmanager
def _warm(bench: Bench, peer: Peer, scenario: Scenario) -> Iterator[Cell]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = _settings(bench, peer, scenario, folder)
        producer = stack.enter_context(Producer(settings, folder / "producer.log"))
        workers = [
            stack.enter_context(Worker(settings, folder / f"worker-{number}.log"))
            for number in range(scenario.workers)
        ]
        cell = Cell(bench, peer, scenario, settings, producer, workers)
        producer.ready()
        _await_warm_up(cell)
        yield cell


def _await_warm_up(cell: Cell) -> None:
    path = Path(cell.settings.stamps)
    if not await_condition(lambda: len(stamps(path)) >= WARM_UP_TASKS, DRAIN_SECONDS, *cell.workers):
        raise RuntimeError(f"{len(stamps(path))} tasks of the warm-up have run: {cell.workers[0].log()}")
    cell.settled()


def _settings(bench: Bench, peer: Peer, scenario: Scenario, folder: Path) -> Settings:
    return Settings(
        peer=peer.name,
        module=peer.module,
        payload=replace(scenario.payload, is_native=peer.is_native),
        broker=bench.redis_url if peer.uses_redis else "sqs://",
        bucket=bench.bucket(),
        queue=f"queue-{uuid4().hex[:12]}",
        stamps=str(folder / "stamps"),
        pool=scenario.pool,
        concurrency=scenario.concurrency,
        has_commands=scenario.measure == "status",
    )


def _tasks(cell: Cell) -> Figures:
    """Publish while the workers stand still, and let them go on; or publish at a rate while they run."""
    count, every_seconds = cell.scenario.tasks, cell.scenario.every_seconds
    _begin(cell)
    old, before = cell.bench.payloads(cell.settings.bucket), cell.bench.redis_use()
    published, waiting = cell.producer.publish(count, every_seconds), cell.bench.redis_use()
    resumed = time.monotonic()
    for each in cell.workers:
        each.signal(SIGCONT)
    cell.drained(count)
    left = cell.settled() - old
    is_steady, uses_redis = cell.scenario.per_second > 0, cell.peer.uses_redis
    return {
        "payloads_left": left / count,
        **_used(cell, published),
        **(_redis(cell, before, waiting) if uses_redis else cell.bench.figures(count)),
        **({} if every_seconds is None else {"publish_ms": statistics.median(published["calls_ms"])}),
        **(_latencies(cell) if is_steady else _rates(cell, published, resumed)),
    }


def _begin(cell: Cell) -> None:
    for each in cell.workers:
        if not cell.scenario.per_second:
            each.signal(SIGSTOP)
        each.begin()
    cell.bench.count(cell.scenario.delay_ms)


def _redis(cell: Cell, before: RedisUse, waiting: RedisUse) -> Figures:
    count, wire_bytes = cell.scenario.tasks, cell.bench.redis_use().wire_bytes - before.wire_bytes
    figures = {"wire_kb": wire_bytes / 1_000 / count}
    if cell.scenario.per_second:
        return figures
    return figures | {"redis_kb": (waiting.memory_bytes - before.memory_bytes) / 1_000 / count}


def _rates(cell: Cell, published: Mapping[str, Any], resumed: float) -> Figures:
    count = cell.scenario.tasks
    return {
        "publish_seconds": published["seconds"],
        "published_per_second": count / published["seconds"],
        "tasks_per_second": count / (cell.stamps()[count - 1].ready - resumed),
    }


def _used(cell: Cell, published: Mapping[str, Any]) -> Figures:
    """Return CPU time and memory of producer, main and child; not of children that a pool has not."""
    cpu = [each.cpu_seconds() for each in cell.workers]
    main, child = (sum(each) * 1_000 / cell.scenario.tasks for each in zip(*cpu, strict=True))
    peak = cell.workers[0].peak_bytes()
    used = {
        "producer_cpu_ms": published["cpu_seconds"] * 1_000 / cell.scenario.tasks,
        "worker_cpu_ms": main + child,
        "main_cpu_ms": main,
        "child_cpu_ms": child,
        "main_peak_mb": peak.main / MEGABYTE,
        "child_peak_mb": peak.child / MEGABYTE,
        **_growth(cell, published["grown_bytes"]),
    }
    return used if peak.child else {name: used[name] for name in used if "child" not in name}


def _growth(cell: Cell, producer_bytes: int) -> Figures:
    """Return peaks above the idle process, in payloads: small ones fit into what a process has free."""
    size_bytes, grown = cell.scenario.payload.size_bytes, cell.workers[0].grown_bytes()
    if size_bytes < LARGE_BYTES:
        return {}
    return {
        "producer_growth": producer_bytes / size_bytes,
        "main_growth": grown.main / size_bytes,
        "child_growth": grown.child / size_bytes,
    }


def _latencies(cell: Cell) -> Figures:
    """Return times of tasks that were published at a rate.

    Messages and tasks are paired from the last one on: the first come with a call from before the count.
    """
    seen = cell.stamps()
    took = sorted((each.ready - each.sent) * 1_000 for each in seen)
    figures = {"end_to_end_p50_ms": statistics.median(took), "end_to_end_p99_ms": _percentile(took, 0.99)}
    received = cell.bench.counts.received
    if received:
        pairs = zip(reversed(seen), reversed(received), strict=False)
        figures["receive_to_start_ms"] = statistics.median(each.ready - at for each, at in pairs) * 1_000
    return figures


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _idle(cell: Cell) -> Figures:
    for each in cell.workers:
        each.begin()
    cell.bench.count(0)
    time.sleep(IDLE_SECONDS)
    minutes = IDLE_SECONDS / 60
    cpu = sum(sum(each.cpu_seconds()) for each in cell.workers)
    figures = {"idle_cpu_ms_per_minute": cpu * 1_000 / minutes}
    if not cell.peer.uses_redis:
        figures["calls_per_minute"] = sum(cell.bench.counts.calls.values()) / minutes
    return figures


def _status(cell: Cell) -> Figures:
    command = [sys.executable, "-m", "celery", "-A", cell.settings.module, "status"]
    start = time.perf_counter()
    answer = subprocess.run(  # noqa: S603 - a fixed command
        command, cwd=ROOT, env=cell.producer.environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if "1 node online" not in answer.stdout:
        raise RuntimeError(f"celery status answered {answer.stdout!r}: {answer.stderr[-1_000:]}")
    return {"status_seconds": seconds}

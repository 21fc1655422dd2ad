"""One peer, one workload, once: a producer publishes, then a worker drains the queue."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psutil
import redis

from benchmarks.peers.peers import Peer
from benchmarks.peers.prices import dollars
from benchmarks.peers.proxy import DelayingProxy, HTTPProxy
from benchmarks.peers.standins import ROOT, Ministack, Redis
from benchmarks.peers.workload import WARM_UP_TASKS, Scenario, stamps
from pipeline.local import HOST, environment

DRAIN_SECONDS = 60.0
SETTLE_SECONDS = 5.0
"""How long a worker may take after its last task to delete messages and payloads."""
POLL_SECONDS = 0.02
MEGABYTE = 1_000_000
ONCE = ("Create", "List", "GetQueue", "SetQueue", "HeadBucket", "TagQueue")
"""Operations at a start, or once a minute: they do not grow with tasks, and are not counted."""

Figures = dict[str, Any]


@dataclass
class Bench:
    """The servers and proxies of a run."""

    aws: Ministack
    redis: Redis
    aws_proxy: HTTPProxy
    redis_proxy: DelayingProxy

    def client(self, service: str) -> Any:
        """Return a client that goes straight to the server, uncounted."""
        return boto3.client(service, endpoint_url=self.aws.url)


def measure(bench: Bench, peer: Peer, scenario: Scenario) -> Figures:
    """Return the figures of one cell."""
    bench.aws.reset()
    store = redis.Redis(port=bench.redis.port)
    store.flushall()
    for proxy in (bench.aws_proxy, bench.redis_proxy):
        proxy.start(scenario.delay_ms / 1_000)
    with tempfile.TemporaryDirectory() as folder:
        variables = _variables(bench, peer, scenario, Path(folder, "stamps"))
        before = store.info()
        published = _publish(variables, scenario.tasks)
        waiting = store.info()["used_memory"] - before["used_memory"]
        drained = _drain(bench, peer, variables, scenario.tasks + WARM_UP_TASKS)
    sent = _redis_bytes(store.info()) - _redis_bytes(before)
    store.close()
    count = scenario.tasks + WARM_UP_TASKS
    used = {"redis_kb": waiting / 1_000 / count, "wire_kb": sent / 1_000 / count}
    return {
        "published_per_second": scenario.tasks / published["seconds"],
        "producer_cpu_ms": published["cpu_seconds"] * 1_000 / scenario.tasks,
        **drained,
        **(used if peer.uses_redis else _counted(bench, count)),
    }


def _variables(bench: Bench, peer: Peer, scenario: Scenario, stamps_path: Path) -> dict[str, str]:
    bucket = f"bucket-{uuid4().hex[:12]}"
    bench.client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": os.environ["AWS_REGION"]}
    )
    redis_url = f"redis://{HOST}:{bench.redis_proxy.port}/0"
    return {
        **os.environ,
        **environment(f"http://{HOST}:{bench.aws_proxy.port}"),
        "BENCH_BROKER": redis_url if peer.uses_redis else "sqs://",
        "BENCH_BUCKET": bucket,
        "BENCH_MODULE": peer.module,
        "BENCH_PAYLOAD": scenario.payload,
        "BENCH_PEER": peer.name,
        "BENCH_QUEUE": f"queue-{uuid4().hex[:12]}",
        "BENCH_STAMPS": str(stamps_path),
    }


def _redis_bytes(info: Mapping[str, Any]) -> int:
    total: int = info["total_net_input_bytes"] + info["total_net_output_bytes"]
    return total


def _publish(variables: Mapping[str, str], count: int) -> Mapping[str, float]:
    command = [sys.executable, "-m", "benchmarks.peers.producer"]
    with subprocess.Popen(  # noqa: S603 - a fixed command
        command, cwd=ROOT, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        output, _ = process.communicate(f"{count}\n", timeout=DRAIN_SECONDS)
    if process.returncode:
        raise RuntimeError(f"the producer ended with {process.returncode}")
    figures: Mapping[str, float] = json.loads(output)
    return figures


@contextmanager
def _worker(variables: Mapping[str, str]) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "benchmarks.peers.consumer"]
    process = subprocess.Popen(  # noqa: S603 - a fixed command
        command,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _drain(bench: Bench, peer: Peer, variables: Mapping[str, str], count: int) -> Figures:
    path = Path(variables["BENCH_STAMPS"])
    with _worker(variables) as worker:
        begun = _await_stamps(path, worker, WARM_UP_TASKS)
        cpu = _cpu_seconds(worker)
        _await_stamps(path, worker, count)
        left = _settled(bench, peer, variables)
        cpu = _cpu_seconds(worker) - cpu
        main_bytes, *children_bytes = map(_peak_bytes, [worker, *worker.children(recursive=True)])
    ended = stamps(path)
    return {
        "tasks_per_second": (count - WARM_UP_TASKS) / (ended[-1] - ended[WARM_UP_TASKS - 1]),
        "worker_cpu_ms": cpu * 1_000 / (count - begun),
        "main_peak_mb": main_bytes / MEGABYTE,
        "child_peak_mb": max(children_bytes) / MEGABYTE,
        "payloads_left": left / count,
    }


def _await_stamps(path: Path, worker: psutil.Process, count: int) -> int:
    deadline = time.monotonic() + DRAIN_SECONDS
    while (ended := len(stamps(path))) < count:
        if time.monotonic() > deadline or not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"{ended} of {count} tasks ended")
        time.sleep(POLL_SECONDS)
    return ended


def _settled(bench: Bench, peer: Peer, variables: Mapping[str, str]) -> int:
    """Wait for the end of all deletes, and return how many payloads are left."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not peer.uses_redis and _messages(bench, variables["BENCH_QUEUE"]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    while (
        (left := _payloads(bench, variables["BENCH_BUCKET"]))
        and peer.releases
        and time.monotonic() < deadline
    ):
        time.sleep(POLL_SECONDS)
    return left


def _messages(bench: Bench, queue: str) -> int:
    sqs = bench.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(map(int, found.values()))


def _payloads(bench: Bench, bucket: str) -> int:
    count: int = bench.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"]
    return count


def _cpu_seconds(worker: psutil.Process) -> float:
    family = [worker, *worker.children(recursive=True)]
    return sum(times.user + times.system for times in (each.cpu_times() for each in family))


def _peak_bytes(process: psutil.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1_024


def _counted(bench: Bench, count: int) -> Figures:
    counts = bench.aws_proxy.counts
    calls, billed = (
        {name: number / count for name, number in counter.items() if not name.split(" ")[1].startswith(ONCE)}
        for counter in (counts.calls, counts.billed)
    )
    return {
        "calls": sum(calls.values()),
        "calls_by_kind": calls,
        "dollars_per_million": dollars(billed),
        "wire_kb": counts.wire_bytes / 1_000 / count,
    }

"""Chaos: processes die and AWS fails, again and again, and every task still ends as expected.

``make chaos`` runs 5,000 tasks and prints a table; a test runs fewer. Producer, supervisor and proxy live in
this process; the stand-in for AWS and two prefork workers are processes. Each second one of the workers'
processes is killed with SIGKILL, and a share of all calls of S3 and SQS fails on its way.
"""

import hashlib
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack, nullcontext, suppress
from itertools import islice
from pathlib import Path

import click
import psutil
import pytest
from celery.result import AsyncResult
from chaos_faults import break_calls
from chaos_report import Expected, Report
from click.testing import CliRunner
from sample_fixtures import open_samples
from standins import AWS, Ministack, environment
from workers import Worker

import pipeline
from benchmarks.proxy import Proxy
from pipeline.cli.main import main as cli

TASKS = 5_000
SMALLEST_BYTES, LARGEST_BYTES = 1_000, 2_000_000
TOGETHER = 10
"""Tasks of a batch. About five of six tasks are published so."""
UNDER_WAY = 200
"""Tasks that have not ended at any time: the producer waits for them."""
FAULTY = 0.05
"""Share of the calls of S3 and SQS that fail."""
KILL_SECONDS = 1.0
MAIN = 0.05
"""Share of the kills that hit a worker's main process; the others hit children."""
STALL_TIMEOUT_SECONDS = 180
"""How long nothing may end before the producer publishes no more, and then before what is left is lost."""
OPTIONS = {
    "visibility_timeout": 10,
    "wait_time_seconds": 1,
    "polling_interval": 0,
    "max_receive_count": 1_000,  # a task whose process is killed five times is no dead letter here
    "redelivery_floor_seconds": 0,
    "redelivery_step_seconds": 1,
    "redelivery_limit_seconds": 5,
    "client-config": {"connect_timeout": 2, "read_timeout": 3, "retries": {"max_attempts": 5}},
}
CONF = {"broker_transport_options": OPTIONS, "worker_prefetch_multiplier": 4}
TABLE = "chaos-results"


class Workers:
    """Two workers that are killed, and started again."""

    def __init__(self, sample, tmp_path, dice):
        self._sample, self._tmp_path, self._dice = sample, tmp_path, dice
        self.kills: Counter[str] = Counter()
        self.killed: set[int] = set()
        self._stopping = threading.Event()
        self._workers = [self._start() for _ in range(2)]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _start(self):
        log = self._tmp_path / f"worker-{time.monotonic_ns()}.log"
        return Worker(self._sample.environment, log)

    def wait(self):
        """Wait until both consume, and begin to kill."""
        for worker in self._workers:
            worker.ready()
        self._thread.start()

    def calm(self):
        """Kill no more, and keep both running."""
        self._stopping.set()
        self._thread.join()
        self._workers = [each if each.process.poll() is None else self._start() for each in self._workers]

    def stop(self):
        """End both as an operator would."""
        for worker in self._workers:
            worker.stop()

    def _run(self):
        while not self._stopping.wait(KILL_SECONDS):
            place = self._dice.randrange(2)
            self._kill(self._workers[place])
            for at, worker in enumerate(self._workers):
                if worker.process.poll() is not None:
                    self._workers[at] = self._start()

    def _kill(self, worker):
        if " ready." not in worker.text():
            return  # a worker that loses all children before ends by itself, and none would ever come to work
        with suppress(psutil.NoSuchProcess):
            children = worker.children()
            if children and self._dice.random() > MAIN:
                child = self._dice.choice(children)
                child.kill()
                self.killed.add(child.pid)
                self.kills["children"] += 1
            else:
                worker.process.kill()
                worker.process.wait()
                self.killed.update(child.pid for child in children)
                self.kills["main processes"] += 1


class Producer:
    """Publishes tasks, and watches them end."""

    def __init__(self, sample, tasks, dice, report):
        self._sample, self._tasks, self._dice, self.report = sample, tasks, dice, report
        self._noise = dice.randbytes(LARGEST_BYTES + tasks)
        self._under_way: deque[tuple[AsyncResult, Expected]] = deque()
        self._last_end = time.monotonic()

    def run(self, progress):
        """Publish all, never too many at a time, and wait for them while processes die and calls fail."""
        numbers = iter(range(self._tasks))
        while some := list(islice(numbers, self._dice.choice([1, 1, TOGETHER]))):
            self._publish(some)
            if not self._look_until_under_way(UNDER_WAY - 1):
                return
            if any(number % 100 == 0 for number in some):
                progress(some[-1])
        self._look_until_under_way(0)

    def finish(self):
        """Wait for what is left, now that nothing dies or fails: what does not end now is lost."""
        self._last_end = time.monotonic()
        self._look_until_under_way(0)
        self.report.lost = [self._description(*each) for each in self._under_way]

    def _look_until_under_way(self, number):
        """Return whether no more than so many tasks are under way, before the stall timeout."""
        while len(self._under_way) > number and self._is_moving():
            self._look()
        return len(self._under_way) <= number

    def _description(self, result, expected):
        """Describe a task that has not ended: its state, and which attempts ran."""
        began = [line.split()[2] for line in self._sample.notes() if line.split()[1] == str(expected.number)]
        return f"{result.id} is {result.state}, was to {expected.end}; attempts that began: {began}"

    def _publish(self, numbers):
        """Publish one task alone, or several together, whose payloads share objects."""
        drawn = [self._drawn(number) for number in numbers]
        while True:
            try:
                with pipeline.batch() if len(drawn) > 1 else nullcontext():
                    results = [self._sample.ordeal.delay(*arguments) for arguments, _ in drawn]
                break
            except Exception:  # noqa: BLE001 - any error reaches the caller
                self.report.failed_publishes += 1
        self._under_way.extend(zip(results, [expected for _, expected in drawn], strict=True))
        self.report.tasks += len(drawn)
        self.report.together += len(drawn) if len(drawn) > 1 else 0

    def _drawn(self, number):
        """Return the arguments of a task, and how it must end."""
        size = int(SMALLEST_BYTES * (LARGEST_BYTES / SMALLEST_BYTES) ** self._dice.random())
        content = self._noise[number : number + size]
        end = self._dice.choices(["return", "fail", "retry"], [90, 5, 5])[0]
        return (content, number, end), Expected(number, end, hashlib.sha256(content).hexdigest())

    def _look(self):
        for _ in range(len(self._under_way)):
            result, expected = self._under_way.popleft()
            if not result.ready():
                self._under_way.append((result, expected))
                continue
            self._last_end = time.monotonic()
            if expected.is_met(result):
                self.report.ended += 1
            else:
                self.report.wrong.append(f"{result.id}: {expected.end} {result.state} {result.result!r:.300}")
        time.sleep(0.2)

    def _is_moving(self):
        return time.monotonic() - self._last_end < STALL_TIMEOUT_SECONDS


def run(aws, tmp_path, tasks, seed, progress=lambda _number: None):
    """Run so many tasks on a stand-in for AWS, and return the report."""
    dice, report, began = random.Random(seed), Report(wanted=tasks), time.monotonic()
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(aws.url))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in {**environment(proxy.url), "AWS_ENDPOINT_URL_DYNAMODB": aws.url}.items():
            patch.setenv(name, value)
        sample = stack.enter_context(open_samples(tmp_path))(
            store=f"s3://{aws.bucket()}/claims",
            options={"threshold_bytes": 0, "read_ahead_bytes": 2**24},
            conf=CONF | {"result_backend": f"dynamodb://eu-west-1/{TABLE}"},
        )
        sample.app.backend.client
        workers = Workers(sample, tmp_path, dice)
        stack.callback(workers.stop)
        workers.wait()
        rules = break_calls(proxy, random.Random(seed + 1), FAULTY)
        producer = Producer(sample, tasks, dice, report)
        producer.run(progress)
        workers.calm()
        report.calls = len(proxy.requests)
        report.faults = Counter({name: rule.used for name, rule in rules.items()})
        proxy.heal()
        producer.finish()
        _wait_until_settled(sample, aws, report)
        workers.stop()
        report.kills = workers.kills
        _count_runs(sample, report, workers.killed)
        _read_logs(report, tmp_path)
        _sweep(sample, report)
    report.seconds = time.monotonic() - began
    return report


def _wait_until_settled(sample, aws, report):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        report.messages, report.dead_letters = (sum(aws.depth(sample.queue + end)) for end in ("", "-dlq"))
        if not report.messages:
            break
        time.sleep(0.5)


def _count_runs(sample, report, killed):
    """Count runs, and say why there were more than one of an attempt."""
    pids = {}
    for _, number, attempt, pid in map(str.split, sample.notes()):
        pids.setdefault((number, attempt), []).append(int(pid))
    report.runs = sum(map(len, pids.values()))
    again = {attempt: runs for attempt, runs in pids.items() if len(runs) > 1}
    after_kill = sum(min(len(runs) - 1, sum(pid in killed for pid in runs)) for runs in again.values())
    report.duplicates["again, because a process was killed"] = after_kill
    twice = sum(len(runs) - 1 for runs in again.values()) - after_kill
    report.duplicates["again, for a message that came twice"] = twice


def _read_logs(report, tmp_path):
    text = "".join(log.read_text(errors="replace") for log in tmp_path.glob("worker-*.log"))
    report.missing = len(re.findall(r"task rejected: payload missing", text))


def _sweep(sample, report):
    report.before_sweep = len(sample.objects())
    words = ["-A", "sample_app", "sweep", "--older-than", "0s", "--force-age", "--delete", "--json"]
    swept = CliRunner().invoke(cli, words)
    assert swept.exit_code == 0, swept.output
    report.after_sweep = len(sample.objects())


def main():
    """Run the whole of it, print the table, and end with 1 if anything was lost, leaked or wrong."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else TASKS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    click.echo(f"{tasks} tasks, seed {seed}")
    directory, server = Path(tempfile.mkdtemp(prefix="chaos-")), Ministack()
    server.start()
    try:
        aws = AWS(server.name, server.url)
        report = run(aws, directory, tasks, seed, lambda number: click.echo(f"{number} …"))
    finally:
        server.stop()
    click.echo(report.table())
    for each in (*report.wrong, *(f"lost: {each}" for each in report.lost)):
        click.echo(each)
    if not report.is_ok:
        click.echo(f"workers' logs and notes: {directory}")
        raise SystemExit(1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()

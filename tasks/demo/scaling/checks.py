"""Checks after the demo: workers came and went, every task ran once, and nothing is left."""

from collections import Counter
from collections.abc import Iterator

from tasks.demo import aws_resources, worker_journal
from tasks.demo.checks import Check, empty_bucket, waiting_messages
from tasks.demo.processes import journal_of
from tasks.demo.scaling.loop import Loop


def checks(loop: Loop) -> Iterator[Check]:
    """Run all checks. No worker may be left."""
    yield _once(loop)
    yield from (_up(loop, load.queue) for load in loop.loads)
    yield _gone(loop)
    yield _seen(loop)
    yield empty_bucket()
    yield waiting_messages(aws_resources.queue_names())


def _once(loop: Loop) -> Check:
    sent = [each for load in loop.loads for each in load.sent]
    runs = worker_journal.read(journal_of(loop.fleet.directory), worker_journal.RAN)
    ran = Counter(line["task_id"] for line in runs if line["state"] == "SUCCESS")
    once = sum(ran[each] == 1 for each in sent)
    return Check(
        once == len(sent) == len(runs), f"ran once: {once} of {len(sent)} tasks, in {len(runs)} runs"
    )


def _up(loop: Loop, queue: str) -> Check:
    peak = loop.peak(queue)
    return Check(peak == loop.scaling.max_workers, f"queue {queue}: from no worker to {peak}, and to none")


def _gone(loop: Loop) -> Check:
    workers = loop.fleet.workers
    graceful = sum(each.is_stopping and each.process.returncode == 0 for each in workers)
    return Check(graceful == len(workers), f"stopped gracefully: {graceful} of {len(workers)} workers")


def _seen(loop: Loop) -> Check:
    seen, names = loop.watching, loop.watching.names
    flower = len(seen.seen_by_flower & names)
    holds = bool(names) and flower == len(names) <= seen.seen_by_top
    return Check(holds, f"seen at work: {seen.seen_by_top} workers by top, {flower} by Flower")

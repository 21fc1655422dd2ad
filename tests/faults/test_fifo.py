"""FIFO queues: the messages of a group run one after another, in their order, whatever happens to workers."""

import os
import signal
from collections import defaultdict
from itertools import pairwise

import pytest
from sample_fixtures import entered
from workers import eventually

import pipeline

pytestmark = [pytest.mark.aws, pytest.mark.worker]

GROUPS, COUNT = "abcde", 40
OPTIONS = {
    "visibility_timeout": 5,
    "wait_time_seconds": 1,
    "polling_interval": 0,
    "redelivery_floor_seconds": 0,
    "redelivery_step_seconds": 1,
}


@pytest.fixture
def sample(sample_of, ministack, monkeypatch):
    """A sample on a FIFO queue, whose workers take on more than they can run.

    moto keeps the order too, but a long poll of it sees the next message of a group a second late.
    """
    return sample_of(
        store=f"s3://{entered(ministack, monkeypatch).bucket()}/claims",
        conf={
            "broker_transport_options": OPTIONS,
            "task_default_queue": f"shop-{os.urandom(4).hex()}.fifo",
            "worker_prefetch_multiplier": 8,
        },
    )


def runs(sample):
    """Return what happened to each group, in order: (begun or ended, number)."""
    happened = defaultdict(list)
    for line in sample.notes():
        what, group, number = line.split()
        happened[group].append((what, int(number)))
    return happened


def ended(sample):
    """Return which messages have ended."""
    return {line for line in sample.notes() if line.startswith("ended")}


def is_in_order(events, count):
    """Say whether each message began after the one before it had ended, or began anew in its own place."""
    begun = [number for what, number in events if what == "begun"]
    ended = [number for what, number in events if what == "ended"]
    follows = all(
        (what, then) != ("begun", "begun") or number == next_number
        for (what, number), (then, next_number) in pairwise(events)
    )
    # A kill between the end and the delete lets a message run once more.
    is_whole = set(ended) == set(range(count)) and ended == sorted(ended)
    return begun == sorted(begun) and is_whole and follows


def test_a_group_keeps_its_order_through_kills_and_redeliveries(sample):
    """Three workers, a killed one and rejected messages: no message begins before the one before it ended."""
    with pipeline.batch():
        for number in range(COUNT):
            for group in GROUPS:
                sample.ordered.apply_async((group, number), MessageGroupId=group)
    workers = [sample.worker(pool="prefork", concurrency=2) for _ in range(2)]
    workers.append(sample.worker(pool="threads", concurrency=4))
    eventually(lambda: len(sample.notes()) > 60, 60)
    for each in [*workers[0].children(), workers[0].process]:
        each.send_signal(signal.SIGKILL)
    eventually(lambda: len(ended(sample)) == len(GROUPS) * COUNT, 120)

    happened = runs(sample)
    assert [group for group in GROUPS if not is_in_order(happened[group], COUNT)] == []


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "solo"])
def test_other_pools_keep_the_order_too(sample, pool):
    """Without an event loop, and with tasks in the main process, a group's messages begin in their order."""
    for number in range(6):
        for group in "ab":
            sample.ordered.apply_async((group, number), MessageGroupId=group)
    sample.worker(pool=pool, concurrency=4)
    eventually(lambda: len(ended(sample)) == 12, 60)

    happened = runs(sample)
    assert [group for group in "ab" if not is_in_order(happened[group], 6)] == []


def test_a_retry_goes_to_the_end_of_its_group(sample):
    """A retry keeps its group, runs after what was sent before it, and never beside another of its group."""
    for number in range(6):
        for group in "ab":
            sample.retried_in_order.apply_async((group, number), MessageGroupId=group)
    for _ in range(2):
        sample.worker(pool="prefork", concurrency=2)
    eventually(lambda: len(ended(sample)) == 12, 60)

    retried = [("begun", 0), ("ended", 0), ("begun", 1)]
    retried += [(what, number) for number in (2, 3, 4, 5, 1) for what in ("begun", "ended")]
    assert runs(sample) == {"a": retried, "b": retried}

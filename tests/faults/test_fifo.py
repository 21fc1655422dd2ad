"""FIFO queues: the messages of a group run one after another, in their order, whatever happens to workers."""

import json
import os
import signal
from collections import defaultdict
from itertools import pairwise

import pytest
from dead_letters import outcome
from sample_fixtures import entered
from workers import eventually

import pipeline
from pipeline.admin import dead_letter_queues
from pipeline.events import Notification, Topic

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
def aws(ministack, monkeypatch):
    """Ministack. moto keeps the order too, but its long poll sees a group's next message a second late."""
    return entered(ministack, monkeypatch)


@pytest.fixture
def sample(sample_of, aws):
    """A sample on a FIFO queue, whose workers take on more than they can run."""
    return fifo_sample(sample_of, aws)


def fifo_sample(sample_of, aws, **options):
    return sample_of(
        store=f"s3://{aws.bucket()}/claims",
        conf={
            "broker_transport_options": OPTIONS | options,
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


def three_workers(sample):
    """Start workers on two pools, and return them."""
    return [
        *(sample.worker(pool="prefork", concurrency=2, app="doors_app") for _ in range(2)),
        sample.worker(pool="threads", concurrency=4, app="doors_app"),
    ]


def send(sample, aws, group, number):
    """Send a message of a group: even ones as others do, for the queue's door, and odd ones as tasks."""
    if number % 2:
        sample.app.send_task("doors_app.fixed_later", (group, number), MessageGroupId=group)
        return
    attributes = {"number": {"DataType": "Number", "StringValue": str(number)}}
    aws.client("sqs").send_message(
        QueueUrl=aws.url_of(sample.queue), MessageBody=json.dumps(group), MessageAttributes=attributes,
        MessageGroupId=group, MessageDeduplicationId=f"{group}{number}",
    )  # fmt: skip


def forget_ids(sample, aws):
    """Make the queue anew, empty: SQS forgets deduplication ids after five minutes only."""
    attributes = aws.attributes(sample.queue)
    aws.client("sqs").delete_queue(QueueUrl=aws.url_of(sample.queue))
    aws.queue(
        sample.queue,
        **{name: attributes[name] for name in ("FifoQueue", "RedrivePolicy", "VisibilityTimeout")},
    )


def test_a_group_keeps_its_order_through_dead_letters(sample_of, aws, monkeypatch):
    """What fails, a task or a message through a door, runs in order after a redrive."""
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    sample = fifo_sample(sample_of, aws, max_receive_count=2)
    sample.app.send_task("doors_app.fixed_later", ("z", 0), MessageGroupId="z")
    for number in range(9):
        for group in "abc":
            send(sample, aws, group, number)
    workers = three_workers(sample)
    eventually(lambda: len(ended(sample)) == 19, 60)
    dead = f"{sample.queue.removesuffix('.fifo')}-dlq.fifo"
    eventually(lambda: sum(aws.depth(dead)) == 9, 60, f"dead letters: {aws.depth(dead)}")
    for each in workers:
        each.stop()
    before = runs(sample)
    forget_ids(sample, aws)
    for group in "abc":
        send(sample, aws, group, 9)
    sample.note("fixed z 0")
    monkeypatch.setattr(dead_letter_queues, "SQS_DEDUPLICATION_SECONDS", 0)
    code, said = outcome("redrive")
    three_workers(sample)
    eventually(lambda: len(ended(sample)) == 31, 60)

    assert (code, said["moved"]) == (0, 9)
    for group in "abc":
        begun = [number for what, number in before[group] if what == "begun"]
        assert begun == [0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8]
        after = runs(sample)[group][len(before[group]) :]
        assert after == [(what, number) for number in (9, 1, 4, 7) for what in ("begun", "ended")]


def test_a_topic_keeps_the_order_of_its_groups(sample_of, aws, monkeypatch):
    """A FIFO topic delivers to a FIFO queue: tasks of a group run in order, of values and claims alike."""
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    sample = fifo_sample(sample_of, aws)
    sample.app.send_task("doors_app.fixed_later", ("z", 0), MessageGroupId="z")
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
    arn = aws.client("sns").create_topic(Name="orders.fifo", Attributes=attributes)["TopicArn"]
    aws.client("sns").subscribe(
        TopicArn=arn, Protocol="sqs", Endpoint=aws.attributes(sample.queue)["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )  # fmt: skip
    sample.note("fixed z 0")
    values = [(each.ljust(300_000 * (number % 2)), each, number) for number in range(9) for each in "abc"]
    Topic(arn).publish_batch(
        [
            Notification(value=text, attributes={"number": number}, group=group)
            for text, group, number in values
        ]
    )
    three_workers(sample)
    eventually(lambda: len(ended(sample)) == 28, 60)

    happened = runs(sample)
    expected = [(what, number) for number in range(9) for what in ("begun", "ended")]
    assert [happened[group] for group in "abc"] == [expected] * 3


def test_calls_of_one_message_keep_its_group(sample_of, aws, monkeypatch):
    """What ``claimcheck.split`` publishes, and the retries of that, run in order in the message's group."""
    monkeypatch.setenv("SHOP_DOORS", "uploads")
    sample = fifo_sample(sample_of, aws)
    queue = f"{sample.queue.removesuffix('.fifo')}-words.fifo"
    for _ in range(2):
        sample.worker(pool="prefork", concurrency=2, app="doors_app", options=("-Q", queue))
    aws.client("sqs").send_message(
        QueueUrl=aws.url_of(queue), MessageBody="one two three",
        MessageGroupId="a", MessageDeduplicationId="1",
    )  # fmt: skip
    eventually(lambda: len(sample.notes()) == 6, 60)

    assert sample.notes() == [f"a {word} {retry}" for retry in (0, 1) for word in ("one", "two", "three")]

"""Makes what an app needs and what is not there: for development. What exists is never touched.

A bucket that is made gets the lifecycle rule for payloads.

In production, buckets and queues come from ``deploy/``: with encryption, a lifecycle rule and alarms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.admin.bucket import Bucket
from pipeline.admin.lifetimes import Lifetime
from pipeline.errors import StoreError
from pipeline.stores.protocol import Store
from pipeline.stores.s3.store import S3Store
from pipeline.transport.addressing import dead_letter_name
from pipeline.transport.queues import Queues


@dataclass(frozen=True, slots=True)
class Made:
    """A bucket or a queue that must be there."""

    kind: str
    name: str
    created: bool
    """Whether we have made it just now."""
    note: str = ""
    has_rule: bool | None = None
    """Of a bucket: whether rules end all payloads and results; None if that could not be read."""


def provision(store: Store, queues: Queues, lifetimes: Sequence[Lifetime]) -> Iterator[Made]:
    """Make bucket, queues and dead-letter queues, and yield each. Safe to repeat and to break off.

    Args:
        store: where payloads go.
        queues: those of the app, entered.
        lifetimes: what a new bucket expires, and when.

    Raises:
        StoreError, QueueError: something could not be looked at or made.
        ValueError: predefined queues are not ours to make.
    """
    if isinstance(store, S3Store):
        yield make_bucket(Bucket(store), lifetimes)
    for name in queues.names():
        yield from make_queue(queues, name)


def make_bucket(bucket: Bucket, lifetimes: Sequence[Lifetime]) -> Made:
    """Make the bucket, with its lifecycle rules, if nobody has it."""
    if bucket.exists():
        return Made("bucket", bucket.name, created=False, has_rule=_has_rules(bucket, lifetimes))
    bucket.create()
    try:
        bucket.put_rules([each.rule(bucket.prefix) for each in lifetimes])
    except StoreError as exc:
        return Made("bucket", bucket.name, created=True, note=f"no lifecycle rule: {exc}", has_rule=False)
    return Made("bucket", bucket.name, created=True, has_rule=True)


def _has_rules(bucket: Bucket, lifetimes: Sequence[Lifetime]) -> bool | None:
    try:
        rules = bucket.rules()
    except StoreError:
        return None
    return all(bucket.expiries(rules, each.folder)[0] for each in lifetimes)


def make_queue(queues: Queues, name: str) -> Iterator[Made]:
    """Make a queue and its dead-letter queue; a queue that exists keeps what it has."""
    queue = queues.find(name)
    if queue is not None:
        note = "" if queue.redrive_policy else "has no redrive policy: see pipeline doctor"
        yield Made("queue", name, created=False, note=note)
        return
    if name in queues.channel.predefined_queues:
        raise ValueError(f"queue {name} is predefined and does not exist: whoever owns its URL must make it")
    dead = dead_letter_name(name)
    there = queues.find(dead) is not None
    made = queues.create(name)
    if made.redrive_policy:
        yield Made("dead-letter queue", dead, created=not there)
    note = "" if made.redrive_policy else "has no dead-letter queue, as dead_letter_queues=False says"
    yield Made("queue", name, created=True, note=note)

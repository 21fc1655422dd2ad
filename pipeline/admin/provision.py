"""Creates the bucket and queues that an app needs, for development. Never changes what exists.

A new bucket gets the lifecycle rules for payloads and results. In production, ``deploy/`` creates buckets and
queues, with encryption and alarms.
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
class Resource:
    """A bucket or a queue that the app needs."""

    kind: str
    name: str
    created: bool
    """Whether this call created it."""
    note: str = ""
    has_rule: bool | None = None
    """For a bucket: whether rules expire all payloads and results; None if the rules could not be read."""


def provision(store: Store, queues: Queues, lifetimes: Sequence[Lifetime]) -> Iterator[Resource]:
    """Create bucket, queues and dead-letter queues, and yield each. Safe to repeat and to interrupt.

    Args:
        store: where payloads go.
        queues: those of the app, inside their ``with`` block.
        lifetimes: the lifecycle rules of a new bucket.

    Raises:
        StoreError, QueueError: AWS denied a call or did not answer.
        ValueError: a predefined queue does not exist.
    """
    if isinstance(store, S3Store):
        yield create_bucket(Bucket(store), lifetimes)
    for name in queues.names():
        yield from create_queue(queues, name)


def create_bucket(bucket: Bucket, lifetimes: Sequence[Lifetime]) -> Resource:
    """Create the bucket, with its lifecycle rules, if it does not exist."""
    if bucket.exists():
        return Resource("bucket", bucket.name, created=False, has_rule=_has_rules(bucket, lifetimes))
    bucket.create()
    try:
        bucket.put_rules([each.rule(bucket.prefix) for each in lifetimes])
    except StoreError as exc:
        return Resource("bucket", bucket.name, created=True, note=f"no lifecycle rule: {exc}", has_rule=False)
    return Resource("bucket", bucket.name, created=True, has_rule=True)


def _has_rules(bucket: Bucket, lifetimes: Sequence[Lifetime]) -> bool | None:
    try:
        rules = bucket.rules()
    except StoreError:
        return None
    return all(bucket.expiries(rules, each.folder)[0] for each in lifetimes)


def create_queue(queues: Queues, name: str) -> Iterator[Resource]:
    """Create a queue and its dead-letter queue; an existing queue is not changed."""
    queue = queues.find(name)
    if queue is not None:
        note = "" if queue.redrive_policy else "has no redrive policy: see pipeline doctor"
        yield Resource("queue", name, created=False, note=note)
        return
    if name in queues.channel.predefined_queues:
        raise ValueError(f"queue {name} is predefined and does not exist: create it, or correct its URL")
    dead = dead_letter_name(name)
    existed = queues.find(dead) is not None
    made = queues.create(name)
    if made.redrive_policy:
        yield Resource("dead-letter queue", dead, created=not existed)
    note = "" if made.redrive_policy else "has no dead-letter queue: dead_letter_queues is False"
    yield Resource("queue", name, created=True, note=note)

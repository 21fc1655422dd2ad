"""Makes what an app needs and what is not there: for development. What exists is never touched.

In production, buckets and queues come from ``deploy/``: with encryption, a lifecycle rule and alarms.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.operations.bucket import Bucket
from pipeline.operations.queues import Queue, Queues
from pipeline.options import SQS_RETENTION_LIMIT_SECONDS
from pipeline.store import Store
from pipeline.stores.s3 import S3Store

MAX_RECEIVE_COUNT = 5
"""As in ``deploy/queues.yaml``."""

DEAD_SUFFIX = "-dlq"


@dataclass(frozen=True, slots=True)
class Made:
    """A bucket or a queue that must be there."""

    kind: str
    name: str
    created: bool
    """Whether we have made it just now."""
    note: str = ""


def provision(app: Any, store: Store, queues: Queues) -> Iterator[Made]:
    """Make bucket, queues and dead-letter queues, and yield each. Safe to repeat and to break off.

    Raises:
        StoreError, QueueError: something could not be looked at or made.
        ValueError: predefined queues are not ours to make.
    """
    if isinstance(store, S3Store):
        yield make_bucket(Bucket(store))
    for name in queues.names():
        yield from make_queue(app, queues, name)


def make_bucket(bucket: Bucket) -> Made:
    """Make the bucket if nobody has it."""
    if bucket.exists():
        return Made("bucket", bucket.name, created=False)
    bucket.create()
    return Made("bucket", bucket.name, created=True)


def make_queue(app: Any, queues: Queues, name: str) -> Iterator[Made]:
    """Make a queue and its dead-letter queue; a queue that exists keeps what it has."""
    queue = queues.find(name)
    if queue is not None:
        note = "" if queue.redrive_policy else "has no redrive policy: see pipeline doctor"
        yield Made("queue", name, created=False, note=note)
        return
    if name in queues.channel.predefined_queues:
        raise ValueError(f"queue {name} is predefined and does not exist: whoever owns its URL must make it")
    dead, new = _dead_letters(queues, name)
    yield Made("dead-letter queue", dead.name, created=new)
    queues.create(name, _attributes(app, queues, name, dead))
    yield Made("queue", name, created=True)


def dead_name(name: str) -> str:
    """Return the name of a queue's dead-letter queue; that of a FIFO queue must be FIFO as well."""
    suffix = ".fifo" if name.endswith(".fifo") else ""
    return f"{name.removesuffix(suffix)}{DEAD_SUFFIX}{suffix}"


def _dead_letters(queues: Queues, name: str) -> tuple[Queue, bool]:
    existing = queues.find(dead_name(name))
    if existing is not None:
        return existing, False
    kept = {"MessageRetentionPeriod": str(SQS_RETENTION_LIMIT_SECONDS), **_fifo(name)}
    return queues.create(dead_name(name), kept), True


def _attributes(app: Any, queues: Queues, name: str, dead: Queue) -> dict[str, str]:
    """Return what Kombu would create the queue with, and the way to its dead letters."""
    chosen = app.conf.broker_transport_options.get("sqs-creation-attributes") or {}
    policy = {"deadLetterTargetArn": dead.attributes["QueueArn"], "maxReceiveCount": MAX_RECEIVE_COUNT}
    return {
        "VisibilityTimeout": str(queues.visibility_seconds),
        "RedrivePolicy": json.dumps(policy),
        **_fifo(name),
        **{key: str(value) for key, value in chosen.items()},
    }


def _fifo(name: str) -> dict[str, str]:
    return {"FifoQueue": "true"} if name.endswith(".fifo") else {}

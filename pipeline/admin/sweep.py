"""The sweep: finds payloads that nobody will release, and deletes them on request.

A payload is an orphan when it is older than any message can be that names it, and no message of a
dead-letter queue does. Live queues cannot be read: receiving counts, and would move their messages to the
dead-letter queue. So the age alone must speak for them::

    queue retention + dead-letter queue retention     a message is redriven on its last day, and waits again
      + one day                                       a retry names the payload of the attempt before it
      after the day in its key                        that of its task's ETA

The payload of a result is an orphan when it is older than ``result_expires``.

A FIFO queue starts a message's clock anew when it is dead-lettered, so its retention counts twice.

A message that was redriven and is dead again may be older than that, and then its dead letter must speak for
it: while a dead-letter queue cannot be read whole, nothing is deleted.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.aws.limits import S3_DELETE_COUNT, SQS_FIFO_SUFFIX, SQS_RETENTION_LIMIT_SECONDS
from pipeline.claimcheck.claim import check_key, day_of, is_result
from pipeline.errors import ClaimError
from pipeline.options import REUSE_SECONDS
from pipeline.stores.protocol import Store, StoredObject
from pipeline.time_chain import named_seconds, result_seconds
from pipeline.transport.queues import Queue, Queues

MARGIN = timedelta(days=1)
"""Added to the least age unless one is asked for: clocks differ, and a key holds only the day of an ETA."""


@dataclass(slots=True)
class Swept:
    """What a sweep has seen, and done so far."""

    objects: int = 0
    """Objects under the prefix."""
    foreign: int = 0
    """Those whose key is not of our grammar: never touched."""
    young: int = 0
    """Payloads below the age."""
    named: int = 0
    """Old payloads that a message of a dead-letter queue names."""
    orphans: int = 0
    orphan_bytes: int = 0
    deleted: int = 0
    failed: list[str] = field(default_factory=list)
    """Keys that the store would not delete."""


def least_age(queues: Queues) -> timedelta:
    """Return the age beyond which no message of the app's queues can name a payload."""
    seconds = list[int]()
    for name in queues.names():
        queue = queues.find(name)
        dead = queues.dead_letters_of(queue) if queue else None
        seconds.append(REUSE_SECONDS + (_messages_seconds(queue, dead) if queue else _unknown_seconds(name)))
    return timedelta(seconds=max(seconds))


def least_result_age(app: Any, payload_ttl_seconds: int) -> timedelta:
    """Return the age beyond which no result can name a payload; the lifecycle rule's if none expires."""
    return timedelta(seconds=result_seconds(app.conf, payload_ttl_seconds))


def _messages_seconds(queue: Queue, dead: Queue | None) -> int:
    waiting = queue.number("MessageRetentionPeriod")
    if dead is None:
        return waiting
    return named_seconds(waiting, dead.number("MessageRetentionPeriod"), is_fifo=queue.is_fifo)


def _unknown_seconds(name: str) -> int:
    """Return the most for a queue that is not there today: nothing is known of yesterday."""
    longest = SQS_RETENTION_LIMIT_SECONDS
    return named_seconds(longest, longest, is_fifo=name.endswith(SQS_FIFO_SUFFIX))


@dataclass(frozen=True, slots=True)
class Ages:
    """How old orphans are."""

    payloads: timedelta
    results: timedelta


def orphans(
    store: Store, ages: Ages, named: set[str], swept: Swept, now: datetime | None = None
) -> Iterator[StoredObject]:
    """Yield orphans as the listing shows them, and count everything seen in ``swept``.

    Args:
        store: what is listed.
        ages: payloads and results below them are left alone.
        named: keys that dead letters name.
        swept: what has been seen so far.
        now: the time, if it is not the clock's.

    Raises:
        StoreError: the store denies access or does not answer.
    """
    now = now or datetime.now(UTC)
    for found in store.list():
        newest = now - (ages.results if is_result(found.key, store.prefix) else ages.payloads)
        swept.objects += 1
        if not _is_ours(found.key, store.prefix):
            swept.foreign += 1
        elif max(found.modified, day_of(found.key)) > newest:
            swept.young += 1
        elif found.key in named:
            swept.named += 1
        else:
            swept.orphans += 1
            swept.orphan_bytes += found.size_bytes
            yield found


def delete(store: Store, found: Iterator[StoredObject], swept: Swept) -> Iterator[int]:
    """Delete orphans in batches, and yield how many were in each. Safe to break off and to repeat.

    Raises:
        StoreError: the store denies access or does not answer; what is left is found by the next sweep.
    """
    batch: list[str] = []
    for orphan in found:
        batch.append(orphan.key)
        if len(batch) == S3_DELETE_COUNT:
            yield _delete(store, batch, swept)
            batch = []
    if batch:
        yield _delete(store, batch, swept)


def _delete(store: Store, batch: list[str], swept: Swept) -> int:
    left = store.delete(batch)
    swept.failed += left
    swept.deleted += len(batch) - len(left)
    return len(batch)


def _is_ours(key: str, prefix: str) -> bool:
    with suppress(ClaimError):
        check_key(key, prefix)
        return True
    return False

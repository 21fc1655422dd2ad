"""The sweep: finds orphans, payloads that no process will release, and deletes them on request.

A payload is an orphan if it is older than any message that can name it, and no message of a dead-letter queue
names it. Source queues are not read: a receive raises the receive count, which moves messages to the
dead-letter queue. So the age decides for them::

    queue retention + dead-letter queue retention     a message redriven on its last day waits again
      + one day                                       a retry names the payload of the previous attempt
      after the day in its key                        the day of the task's ETA

The payload of a result is an orphan when it is older than ``result_expires``, that of a handle a day after
its TTL class has ended.

The retention of a FIFO queue counts twice: the age of its message restarts in the dead-letter queue.

A message that was redriven and dead-lettered again may be older than that. So nothing is deleted unless all
dead-letter queues were read completely.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.aws.limits import S3_DELETE_COUNT, SQS_FIFO_SUFFIX, SQS_RETENTION_LIMIT_SECONDS
from pipeline.claimcheck.keys import check_key, day_of, is_result, payload_key, ttl_days_of
from pipeline.errors import ClaimError
from pipeline.options import REUSE_SECONDS
from pipeline.stores.protocol import Store, StoredObject
from pipeline.time_chain import named_seconds, result_seconds
from pipeline.transport.queues import Queue, Queues

MARGIN = timedelta(days=1)
"""Added to the minimum age by default: clocks differ, and a key holds only the day of an ETA."""


@dataclass(slots=True)
class Swept:
    """Counts of a sweep."""

    objects: int = 0
    """Objects under the prefix."""
    foreign: int = 0
    """Objects whose key does not match the key grammar: never deleted."""
    young: int = 0
    """Payloads below the minimum age."""
    named: int = 0
    """Older payloads that a message of a dead-letter queue names."""
    orphans: int = 0
    orphan_bytes: int = 0
    deleted: int = 0
    failed: list[str] = field(default_factory=list)
    """Keys that the store did not delete."""


def minimum_age(queues: Queues) -> timedelta:
    """Return the age beyond which no message of the app's queues can name a payload."""
    seconds = list[int]()
    for name in queues.names():
        queue = queues.find(name)
        dead = queues.dead_letters_of(queue) if queue else None
        seconds.append(REUSE_SECONDS + (_messages_seconds(queue, dead) if queue else _unknown_seconds(name)))
    return timedelta(seconds=max(seconds))


def minimum_result_age(app: Any, payload_ttl_seconds: int) -> timedelta:
    """Return the age beyond which no result names a payload; if results never expire, the TTL."""
    return timedelta(seconds=result_seconds(app.conf, payload_ttl_seconds))


def _messages_seconds(queue: Queue, dead: Queue | None) -> int:
    waiting = queue.number("MessageRetentionPeriod")
    if dead is None:
        return waiting
    return named_seconds(waiting, dead.number("MessageRetentionPeriod"), is_fifo=queue.is_fifo)


def _unknown_seconds(name: str) -> int:
    """Return the longest retention, for a queue that does not exist: it may have existed yesterday."""
    longest = SQS_RETENTION_LIMIT_SECONDS
    return named_seconds(longest, longest, is_fifo=name.endswith(SQS_FIFO_SUFFIX))


@dataclass(frozen=True, slots=True)
class Ages:
    """Minimum age of an orphan."""

    payloads: timedelta
    results: timedelta

    def least(self, key: str, prefix: str) -> timedelta | None:
        """Return the minimum age of what has a key; None for a key that is none of this library's.

        The payload of a handle is an orphan a day after its TTL class has ended. A ledger
        is one when its payload is.
        """
        key = payload_key(key)
        ttl_days = ttl_days_of(key, prefix)
        if ttl_days is not None:
            return timedelta(days=ttl_days) + MARGIN
        if not _is_ours(key, prefix):
            return None
        return self.results if is_result(key, prefix) else self.payloads


def orphans(
    store: Store, ages: Ages, named: set[str], swept: Swept, now: datetime | None = None
) -> Iterator[StoredObject]:
    """Yield orphans in the order of the listing, and count all objects in ``swept``.

    Args:
        store: the store to list.
        ages: minimum ages of payloads and results.
        named: keys that dead letters name.
        swept: the counts to add to.
        now: the time; None means the clock's.

    Raises:
        StoreError: the store denied the request or did not answer.
    """
    now = now or datetime.now(UTC)
    for found in store.list():
        least = ages.least(found.key, store.prefix)
        swept.objects += 1
        if least is None:
            swept.foreign += 1
        elif max(found.modified, day_of(found.key)) > now - least:
            swept.young += 1
        elif payload_key(found.key) in named:
            swept.named += 1
        else:
            swept.orphans += 1
            swept.orphan_bytes += found.size_bytes
            yield found


def delete(store: Store, found: Iterator[StoredObject], swept: Swept) -> Iterator[int]:
    """Delete orphans in batches, and yield the size of each batch. Safe to interrupt and to repeat.

    Raises:
        StoreError: the store denied the request or did not answer; the next sweep finds the rest.
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

"""An orphan is a payload of our grammar that is old enough and that no message names."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.admin import sweep
from pipeline.admin.sweep import Ages, Swept
from pipeline.claimcheck.keys import new_handle_key, new_key
from pipeline.errors import StoreDeniedError
from pipeline.stores.memory import MemoryStore
from pipeline.transport.queues import Queue, Queues

pytestmark = pytest.mark.aws

DAY = timedelta(days=1)


def aged(days):
    """Return an age of so many days for payloads and for results."""
    return Ages(days * DAY, days * DAY)


@dataclass(frozen=True)
class Aged(MemoryStore):
    """A store whose payloads are ten days older than they are."""

    def list(self, prefix=""):
        for found in super().list(prefix):
            yield replace(found, modified=found.modified - 10 * DAY)


def test_orphans_are_old_and_unnamed():
    """A payload is an orphan if it is old enough, its key is of our grammar, and no message names it."""
    store = Aged("claims")
    keys = [new_key("claims", datetime.now(UTC) - 30 * DAY) for _ in range(3)]
    for key in (*keys, "claims/notes.txt"):
        store.put(key, b"12345", {})
    swept = Swept()
    found = list(sweep.orphans(store, aged(9), {keys[0]}, swept))

    assert {each.key for each in found} == set(keys[1:])
    assert (swept.objects, swept.foreign, swept.named, swept.orphans, swept.orphan_bytes) == (4, 1, 1, 2, 10)
    assert list(sweep.orphans(store, aged(11), set(), Swept())) == []


@pytest.mark.parametrize(("ttl_days", "age_days", "is_orphan"), [(1, 3, True), (7, 7, False), (7, 9, True)])
def test_handles_are_orphans_when_their_class_has_ended(ttl_days, age_days, is_orphan):
    """The payload of a handle is an orphan a day after its TTL, whatever the age of other payloads."""
    store = MemoryStore("claims")
    store.put(new_handle_key("claims", ttl_days), b"1", {})
    now = datetime.now(UTC) + age_days * DAY

    assert bool(list(sweep.orphans(store, aged(99), set(), Swept(), now))) is is_orphan


def test_deletes_come_in_batches(monkeypatch):
    """Orphans are deleted batch by batch: a sweep that is broken off has done part of its work."""
    monkeypatch.setattr(sweep, "S3_DELETE_COUNT", 2)
    store, swept = MemoryStore("claims"), Swept()
    for _ in range(5):
        store.put(new_key("claims"), b"1", {})
    deleting = sweep.delete(store, sweep.orphans(store, aged(0), set(), swept), swept)
    next(deleting)

    assert len(list(store.list())) == 3
    assert list(deleting) == [2, 1]
    assert list(store.list()) == []


def test_what_a_store_keeps_is_reported():
    """The result lists keys that the store did not delete."""

    class Stubborn(MemoryStore):
        def delete(self, keys):
            return dict.fromkeys(keys, StoreDeniedError("an object lock"))

    store, swept = Stubborn("claims"), Swept()
    store.put(key := new_key("claims"), b"1", {})

    assert list(sweep.delete(store, sweep.orphans(store, aged(0), set(), swept), swept)) == [1]
    assert (swept.failed, swept.deleted) == ([key], 0)


def test_the_least_age_is_that_of_the_longest_chain(queued):
    """Retention of queue and dead-letter queue add up, and a retry may name a payload that is a day older."""
    with Queues(queued.app) as queues:
        assert sweep.minimum_age(queues) == 19 * DAY


@pytest.mark.parametrize(
    ("expires", "chord_expires", "days"),
    [(86_400, None, 1), (2 * DAY, 86_400, 2), (86_400, 3 * DAY, 3), (None, None, 35), (0, 86_400, 35)],
)
def test_a_result_s_least_age_is_when_it_expires(queued, expires, chord_expires, days):
    """Payloads of results live as long as Celery keeps results; for ever counts as the payloads' TTL."""
    queued.app.conf.update(result_expires=expires, result_chord_expires=chord_expires)

    assert sweep.minimum_result_age(queued.app, 35 * 86_400) == days * DAY


def test_results_have_an_age_of_their_own():
    """A result is an orphan when it has expired, while payloads of that age may be in use."""
    store = Aged("claims")
    today = datetime.now(UTC) - 30 * DAY
    result, payload = new_key("claims/results", today), new_key("claims", today)
    for key in (result, payload):
        store.put(key, b"1", {})

    assert [each.key for each in sweep.orphans(store, Ages(19 * DAY, 2 * DAY), set(), Swept())] == [result]
    assert [each.key for each in sweep.orphans(store, Ages(2 * DAY, 19 * DAY), set(), Swept())] == [payload]


def test_a_queue_that_is_not_there_counts_as_the_longest(sample):
    """A queue that does not exist counts with SQS's own limits."""
    with Queues(sample.app) as queues:
        assert sweep.minimum_age(queues) == 29 * DAY

        sample.app.amqp.queues.select_add("orders.fifo")
        assert sweep.minimum_age(queues) == 43 * DAY


def test_ages_are_read():
    """Seconds, minutes, hours and days are understood."""
    from pipeline.cli.sweep import Age

    ages = [Age().convert(text, None, None) for text in ("5s", "90m", "36h", "19d")]
    assert ages == [timedelta(seconds=5), timedelta(minutes=90), timedelta(hours=36), 19 * DAY]


def test_a_fifo_queue_counts_twice():
    """The clock of a FIFO queue's message starts anew when it is dead-lettered."""
    queue, dead = (
        Queue(name, "", {"MessageRetentionPeriod": "100"}, None) for name in ("a.fifo", "a-dlq.fifo")
    )

    assert sweep._messages_seconds(queue, dead) == 300
    assert sweep._messages_seconds(queue, None) == 100

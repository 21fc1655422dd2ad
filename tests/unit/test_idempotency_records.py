"""Records of idempotent calls, and the attempts that write them."""

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.admin import sweep
from pipeline.admin.sweep import Swept
from pipeline.claimcheck import signed_record
from pipeline.claimcheck.signed_record import Record, record_key
from pipeline.errors import (
    PayloadCorruptError,
    StoreDeniedError,
    StoreUnavailableError,
    TaskInProgressError,
)
from pipeline.idempotency import execution
from pipeline.idempotency.execution import Attempt
from pipeline.stores.memory import MemoryStore
from pipeline.stores.records import records_of

pytestmark = pytest.mark.usefixtures("no_wait")


@pytest.fixture
def store():
    return MemoryStore("claims")


@pytest.fixture
def options():
    return {"store_retry_seconds": 0.01}


KEY = record_key("claims", "charge", '"one"')
DAY = timedelta(days=1)


def attempt_of(claimcheck, in_progress=DAY):
    records = records_of(claimcheck.store)
    return Attempt(
        claimcheck=claimcheck, records=records, key=KEY, in_progress=in_progress, keep=DAY, log_fields={}
    )


def test_keys_of_two_tasks_differ(store):
    """A key counts within its task, and neither name nor key can be moved over to the other."""
    keys = {record_key("p", "a", "bc"), record_key("p", "ab", "c"), record_key("", "a", "bc")}

    assert len(keys) == 3
    assert all(len(key.rpartition("once/v1/")[2]) == 40 for key in keys)


def test_an_expired_run_is_taken_over(claimcheck):
    """A run that must have ended is free for the next, and ends without a trace if it did not."""
    slow, fast = attempt_of(claimcheck, timedelta()), attempt_of(claimcheck)

    assert slow.begin() is None
    assert fast.begin() is None
    fast.finish(claimcheck.seal("fast"))
    slow.finish(claimcheck.seal("slow"))
    slow.abandon()
    assert claimcheck.rehydrate(attempt_of(claimcheck).begin()) == "fast"


def test_a_result_counts_until_it_expires(claimcheck):
    """A result that is older than it is kept for is free, and the call runs again."""
    first = attempt_of(claimcheck)
    first.keep = timedelta()
    first.begin()
    first.finish(claimcheck.seal("old"))

    assert attempt_of(claimcheck).begin() is None


def test_one_of_many_begins(claimcheck):
    """Of many deliveries at once, one begins and the others raise TaskInProgressError."""
    barrier, begun, busy = threading.Barrier(8), [], []

    def work():
        one = attempt_of(claimcheck)
        barrier.wait()
        try:
            begun.append(one.begin())
        except TaskInProgressError as exc:
            busy.append(exc)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (begun, len(busy)) == ([None], 7)


class Broken(MemoryStore):
    """A store whose records fail from the second write on."""

    __slots__ = ("error", "writes")

    def __init__(self, error):
        super().__init__("claims")
        object.__setattr__(self, "error", error)
        object.__setattr__(self, "writes", [])

    def records(self):
        return self

    def read(self, key):
        return super().records().read(key)

    def write(self, key, content, tag):
        self.writes.append(key)
        if len(self.writes) > 1:
            raise self.error
        return super().records().write(key, content, tag)

    def remove(self, key, tag):
        raise self.error


class Deaf(MemoryStore):
    """A store whose answer to a write gets lost, so that the write that is sent again fails."""

    __slots__ = ()

    def records(self):
        return self

    def read(self, key):
        return super().records().read(key)

    def write(self, key, content, tag):
        super().records().write(key, content, tag)


def test_a_lost_answer_is_found_in_the_record(claimcheck, monkeypatch, caplog):
    """An attempt whose write fails because of its own earlier write reads the record, and goes on."""
    monkeypatch.setattr(execution, "IN_PROGRESS_WAIT_SECONDS", 30.0)
    object.__setattr__(claimcheck, "store", Deaf("claims"))
    one = attempt_of(claimcheck)

    assert one.begin() is None
    one.finish(claimcheck.seal("result"))
    assert claimcheck.rehydrate(attempt_of(claimcheck).begin()) == "result"
    assert "took over" not in caplog.text


def test_a_waiting_delivery_gets_the_result(claimcheck, monkeypatch):
    """A delivery that finds another at work has its result as soon as that one ends."""
    monkeypatch.setattr(execution, "IN_PROGRESS_WAIT_SECONDS", 30.0)
    first, second = attempt_of(claimcheck), attempt_of(claimcheck)
    first.begin()
    ending = threading.Timer(0.1, lambda: first.finish(claimcheck.seal("result")))
    ending.start()

    assert claimcheck.rehydrate(second.begin()) == "result"
    ending.join()


@pytest.mark.parametrize("error", [StoreDeniedError("no"), StoreUnavailableError("later")])
def test_what_has_run_is_not_failed_by_its_record(claimcheck, error, caplog):
    """A store that fails after the effect costs the record, never the result or the task's own error."""
    object.__setattr__(claimcheck, "store", Broken(error))
    one = attempt_of(claimcheck)
    one.begin()
    with caplog.at_level(logging.WARNING):
        one.finish(claimcheck.seal("result"))
        one.abandon()

    ours = [record.message for record in caplog.records if record.name == "pipeline.idempotency.execution"]
    assert [text.partition(",")[0] for text in ours] == ["result not kept", "record not removed"]


@pytest.mark.parametrize("signing_key", [None, b"0123456789abcdef"])
def test_a_record_belongs_to_its_key(claimcheck, signing_key):
    """A record that was damaged, copied to another key or signed with another key is corrupt."""
    record = Record(owner="me", expires=datetime.now(UTC), result=claimcheck.seal({"a": 1}))
    content = signed_record.write(record, KEY, signing_key)

    assert signed_record.read(content, KEY, signing_key) == record
    for wrong, key, secret in [
        (content[:-1] + bytes([content[-1] ^ 1]), KEY, signing_key),
        (b"", KEY, signing_key),
        (b"[1, 2]", KEY, signing_key),
        (content, record_key("claims", "charge", '"two"'), signing_key),
        (content, KEY, b"another key of ours"),
    ]:
        with pytest.raises(PayloadCorruptError, match="record corrupt"):
            signed_record.read(wrong, key, secret)


def test_a_place_is_the_same_in_every_release():
    """A record that one release wrote is found by the next, and its place holds no text of the call."""
    key = record_key("claims", "shop.charge", '"one"')

    assert key == "claims/once/v1/f8e8c474c00dd1d7c2537057faec5dc9934a94c7"


def test_the_sweep_leaves_records_alone(claimcheck):
    """However old, a record is no orphan: the sweep counts it as foreign, and goes on."""
    attempt_of(claimcheck).begin()
    swept = Swept()

    assert list(sweep.orphans(claimcheck.store, sweep.Ages(timedelta(0), timedelta(0)), set(), swept)) == []
    assert (swept.objects, swept.foreign, swept.orphans) == (1, 1, 0)

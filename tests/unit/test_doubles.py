"""The doubles of ``pipeline.testing`` keep records as the stores inside do."""

import pytest

from pipeline.errors import StoreUnavailableError
from pipeline.stores.memory import MemoryStore
from pipeline.stores.records import RecordKeeper, records_of
from pipeline.testing import CountingStore, FaultyStore

ERROR = StoreUnavailableError("try again")


def test_doubles_keep_records():
    """A record that is written through both doubles is read through the store inside."""
    inside = MemoryStore("claims")
    double = CountingStore(FaultyStore(inside, fail=[]))
    tag = records_of(double).write("claims/once/v1/a", b"record", None)

    assert isinstance(double, RecordKeeper)
    assert inside.records().read("claims/once/v1/a") == (b"record", tag)
    assert records_of(double).remove("claims/once/v1/a", tag)
    assert double.calls == {"write": 1, "remove": 1}


def test_records_fail_on_order():
    """The verbs of records fail where they are named, and not where they are not."""
    store = FaultyStore(MemoryStore(), fail=[ERROR], verbs=["write"])
    assert store.records().read("a") is None

    with pytest.raises(StoreUnavailableError):
        store.records().write("a", b"record", None)
    assert store.records().write("a", b"record", None)
    assert FaultyStore(MemoryStore(), fail=[ERROR]).records().write("a", b"record", None)


def test_a_lost_answer_leaves_its_record():
    """With ``after``, the record is written, and its writer gets an error that leaves the outcome open."""
    store = FaultyStore(MemoryStore(), fail=[ERROR], verbs=["write"], after=True)

    with pytest.raises(StoreUnavailableError):
        store.records().write("a", b"record", None)
    assert store.records().read("a")[0] == b"record"


def test_a_store_without_records_has_none():
    """A double adds no records to a store that keeps none."""
    with pytest.raises(ValueError, match=r"object has no records\(\)"):
        CountingStore(object()).records()

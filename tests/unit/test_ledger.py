"""Ledgers count the members of a shared payload that have ended, by conditional writes alone."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.admin import sweep
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Share
from pipeline.claimcheck.keys import check_stored_key, ledger_key, new_handle_key, new_key
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.file.store import FileStore
from pipeline.stores.memory import MemoryStore
from pipeline.testing import FaultyStore

IDS = [ledger.member(f"task-{number}") for number in range(40)]


@pytest.fixture(params=["memory", "file"])
def kept(request, claimcheck, tmp_path):
    """A claim check on a store with records."""
    store = MemoryStore("claims") if request.param == "memory" else FileStore(tmp_path / "payloads", "claims")
    return replace(claimcheck, store=store)


def shared_payload(kept, members_count):
    key = new_key("claims")
    kept.store.put(key, b"payload", {})
    ledger.make(kept, key, members_count)
    return key


def keys(kept):
    return [each.key for each in kept.store.list()]


def test_the_last_end_deletes_payload_and_ledger(kept):
    """While one member has not ended, both stay; its end deletes both."""
    key = shared_payload(kept, 3)
    first = ledger.mark(kept, {key: IDS[:2]})

    assert first.released == set()
    assert keys(kept) == [key, ledger_key(key)]
    assert ledger.mark(kept, {key: IDS[2:3]}).released == {key}
    assert keys(kept) == []


def test_a_member_counts_once(kept):
    """However often a member is marked, it is one end."""
    key = shared_payload(kept, 2)
    for _ in range(3):
        assert ledger.mark(kept, {key: IDS[:1]}).released == set()

    assert keys(kept) == [key, ledger_key(key)]


def test_an_end_after_the_last_one_does_nothing(kept):
    """Without a ledger there is nothing to mark, and no new ledger."""
    key = shared_payload(kept, 1)
    ledger.mark(kept, {key: IDS[:1]})
    again = ledger.mark(kept, {key: IDS[:1]})

    assert (again.released, again.left, keys(kept)) == (set(), {}, [])


def test_a_second_making_changes_nothing(kept):
    """A publish that is tried again makes no new ledger: what has ended stays."""
    key = shared_payload(kept, 2)
    ledger.mark(kept, {key: IDS[:1]})
    ledger.make(kept, key, 5)

    assert ledger.mark(kept, {key: IDS[1:2]}).released == {key}


def test_many_processes_lose_no_end(kept):
    """Forty members that are marked by eight threads at a time all count, and the payload goes once."""
    key, released = shared_payload(kept, len(IDS)), []

    def end(ids):
        for each in ids:
            while True:
                marked = ledger.mark(kept, {key: [each]})
                if not marked.left:
                    break
                assert all(error.retryable for error in marked.left.values())
            released.extend(marked.released)

    threads = [threading.Thread(target=end, args=[IDS[start::8]]) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert released == [key]
    assert keys(kept) == []


def test_many_ledgers_are_marked_together(kept):
    """One call marks any number of payloads, and deletes those that are complete."""
    done, open_ = [shared_payload(kept, 1) for _ in range(5)], [shared_payload(kept, 2) for _ in range(5)]
    marked = ledger.mark(kept, dict.fromkeys(done + open_, IDS[:1]))

    assert marked.released == set(done)
    assert sorted(keys(kept)) == sorted(each for key in open_ for each in (key, ledger_key(key)))


def test_a_store_that_fails_is_marked_again_later(claimcheck, store):
    """What is not deleted is left with its error, complete as it is: the next mark deletes it."""
    key = shared_payload(claimcheck, 1)
    broken = FaultyStore(store, [StoreUnavailableError("down")], verbs=["delete"])
    marked = ledger.mark(replace(claimcheck, store=broken), {key: IDS[:1]})

    assert isinstance(marked.left[key], StoreUnavailableError)
    assert keys(claimcheck) == [key, ledger_key(key)]
    assert ledger.mark(claimcheck, {key: IDS[:1]}).released == {key}


def test_a_damaged_ledger_keeps_its_payload(kept):
    """What is no ledger, or of a later version, is an error, and deletes nothing."""
    key = new_key("claims")
    kept.store.put(key, b"payload", {})
    tag = kept.store.records().write(ledger_key(key), b"nonsense", None)

    assert isinstance(ledger.mark(kept, {key: IDS[:1]}).left[key], PayloadCorruptError)

    kept.store.records().write(ledger_key(key), b"\x93\x09\x01\xc4\x00", tag)

    assert "version 9" in str(ledger.mark(kept, {key: IDS[:1]}).left[key])
    assert key in keys(kept)


def test_a_payload_without_its_ledger_is_deleted(claimcheck, store):
    """If the ledger is not made, the payload goes, and the caller gets the error."""
    key = new_key("claims")
    store.put(key, b"payload", {})
    denied = FaultyStore(store, [StoreDeniedError("no")], verbs=["write"])

    with pytest.raises(StoreDeniedError):
        ledger.make_or_delete(replace(claimcheck, store=denied), key, 2)
    assert keys(claimcheck) == []


@pytest.mark.parametrize("count", [0, -1, True, 2.0, ledger.MEMBERS_LIMIT + 1])
def test_a_number_of_uses_is_checked(claimcheck, count):
    """It is a whole number from 1 to the limit."""
    with pytest.raises(ValueError, match="uses="):
        ledger.make(claimcheck, new_key("claims"), count)


@pytest.mark.parametrize("key", [new_key("claims"), new_handle_key("claims", 7)], ids=["payload", "handle"])
def test_no_claim_may_name_a_ledger(claimcheck, key):
    """The key of a ledger is none of a payload."""
    check_stored_key(key, "claims")

    with pytest.raises(ClaimError):
        check_stored_key(ledger_key(key), "claims")
    assert ledger.is_ours(claimcheck, Share(store="default", key=key))
    assert not ledger.is_ours(claimcheck, Share(store="default", key=ledger_key(key)))
    assert not ledger.is_ours(claimcheck, Share(store="other", key=key))


@pytest.mark.parametrize("key", [new_key("claims"), new_handle_key("claims", 7)], ids=["payload", "handle"])
def test_a_ledger_is_an_orphan_when_its_payload_is(store, key):
    """The sweep treats both alike: young, named by a dead letter, or an orphan, each of them also alone."""
    store.put(key, b"payload", {})
    store.put(ledger_key(key), b"ledger", {})
    ages = sweep.Ages(timedelta(days=20), timedelta(days=1))
    now = next(store.list()).modified

    def found(days, named=frozenset()):
        swept = sweep.Swept()
        return [each.key for each in sweep.orphans(store, ages, set(named), swept, now + timedelta(days))]

    assert found(2) == []
    assert found(60) == [key, ledger_key(key)]
    assert found(60, {key}) == []

    store.delete([key])

    assert found(60) == [ledger_key(key)]

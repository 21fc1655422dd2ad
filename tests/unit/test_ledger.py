"""Ledgers count the members of a shared payload that have ended, by conditional writes alone."""

from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_rules import IDS, LedgerRules, keys, shared_payload

from pipeline.admin import sweep
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Share
from pipeline.claimcheck.keys import check_stored_key, ledger_key, new_handle_key, new_key
from pipeline.errors import ClaimError, StoreDeniedError, StoreUnavailableError
from pipeline.stores.file.store import FileStore
from pipeline.stores.memory import MemoryStore
from pipeline.testing import FaultyStore


class TestMemory(LedgerRules):
    @pytest.fixture
    def store(self):
        return MemoryStore("claims")


class TestFile(LedgerRules):
    @pytest.fixture
    def store(self, tmp_path):
        return FileStore(tmp_path / "payloads", "claims")


def test_a_store_that_fails_is_marked_again_later(claimcheck, store):
    """What is not deleted is left with its error, complete as it is: the next mark deletes it."""
    key = shared_payload(claimcheck, 1)
    broken = FaultyStore(store, [StoreUnavailableError("down")], verbs=["delete"])
    marked = ledger.mark(replace(claimcheck, store=broken), {key: IDS[:1]})

    assert isinstance(marked.left[key], StoreUnavailableError)
    assert keys(claimcheck) == [key, ledger_key(key)]
    assert ledger.mark(claimcheck, {key: IDS[:1]}).released == {key}


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

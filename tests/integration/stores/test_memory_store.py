"""The store in memory and the doubles around it keep the rules of every store."""

import pytest
from store_rules import METADATA, RangeRules

from pipeline.errors import (
    PayloadMissingError,
    StoreDeniedError,
    StoreUnavailableError,
)
from pipeline.stores.memory import MemoryStore
from pipeline.testing import CountingStore, FaultyStore


class TestMemory(RangeRules):
    """The store in memory."""

    @pytest.fixture
    def store(self):
        return MemoryStore("/app/")


class TestCounting(RangeRules):
    """The counting double keeps the rules of every store."""

    @pytest.fixture
    def store(self):
        return CountingStore(MemoryStore("app"))

    def test_what_is_counted(self, store):
        """Calls are counted by verb, failed ones too, and bytes where there are any."""
        store.put("app/a", b"abc", METADATA)
        store.get("app/a", 3)
        with pytest.raises(PayloadMissingError):
            store.get("app/b", 4)
        store.delete(["app/a", "app/b"])
        list(store.list())

        assert store.calls == {"put": 1, "get": 2, "delete": 1, "list": 1}
        assert store.payload_bytes == {"put": 3, "get": 7}


class TestFaulty(RangeRules):
    """The failing double keeps the rules of every store once its errors are used up."""

    @pytest.fixture
    def store(self):
        return FaultyStore(MemoryStore("app"), fail=[])

    def test_each_verb_fails_by_itself(self):
        """Every verb raises the errors in order, None lets a call through, and so does the end."""
        down, denied = StoreUnavailableError("down"), StoreDeniedError("denied")
        store = FaultyStore(MemoryStore(), fail=[down, None, denied])
        calls = [
            lambda: store.put("a", b"a", {}),
            lambda: store.get("a", 1),
            lambda: store.delete([]),
            lambda: list(store.list()),
        ]

        for call in calls:
            with pytest.raises(StoreUnavailableError, match="down"):
                call()
            call()
            with pytest.raises(StoreDeniedError, match="denied"):
                call()
            call()

    def test_some_verbs_fail(self):
        """Only the named verbs fail, and an unknown verb raises."""
        store = FaultyStore(MemoryStore(), fail=[StoreUnavailableError("down")], verbs=["get"])
        store.put("a", b"a", {})

        with pytest.raises(StoreUnavailableError):
            store.get("a", 1)
        with pytest.raises(ValueError, match=r"verbs=\['fetch'\]"):
            FaultyStore(MemoryStore(), fail=[], verbs=["fetch"])

    def test_failing_after_the_act(self):
        """An answer can be lost: the store has acted, and the caller sees an error."""
        store = FaultyStore(MemoryStore(), fail=[StoreUnavailableError("lost")], after=True)
        with pytest.raises(StoreUnavailableError):
            store.put("a", b"a", {})
        assert store.store.get("a", 1) == b"a"

        with pytest.raises(StoreUnavailableError):
            store.delete(["a"])
        assert list(store.store.list()) == []

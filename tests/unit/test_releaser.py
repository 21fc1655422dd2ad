"""Payloads are given up after their messages have settled, and not before."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim, Inline
from pipeline.errors import StoreDeniedError, StoreUnavailableError
from pipeline.metrics.table import PAYLOADS_ORPHANED
from pipeline.stores.memory import MemoryStore
from pipeline.testing import FaultyStore
from pipeline.worker import releaser as module
from pipeline.worker.releaser import Releaser


@pytest.fixture
def releaser(claimcheck):
    return Releaser(claimcheck, interval_seconds=0.01)


def offloaded(claimcheck):
    sealed = Inline(data=b"x" * 10, codec="msgpack", compression="none", expanded_bytes=10)
    return claimcheck.offload(sealed).claim


def kept(claimcheck):
    return {stored.key for stored in claimcheck.store.list()}


def message(acknowledged):
    return SimpleNamespace(acknowledged=acknowledged)


def test_a_settled_payload_is_released(claimcheck, releaser):
    """An execution that ended and a message that settled: the payload goes."""
    releaser.ended(message(acknowledged=True), offloaded(claimcheck))
    releaser.flush()

    assert kept(claimcheck) == set()


def test_an_unsettled_payload_stays(claimcheck, releaser):
    """While the broker has not confirmed, the payload stays; once it has, it goes."""
    pending = message(acknowledged=False)
    claim = offloaded(claimcheck)
    releaser.ended(pending, claim)
    releaser.flush()

    assert kept(claimcheck) == {claim.key}

    pending.acknowledged = True
    releaser.flush()

    assert kept(claimcheck) == set()


def test_a_payload_that_another_attempt_needs_stays(claimcheck, releaser):
    """Whether it is needed is asked once, when its message has settled."""
    pending, claim, asked = message(acknowledged=False), offloaded(claimcheck), []
    releaser.ended(pending, claim, is_needed=lambda: asked.append(claim) or True)
    releaser.flush()

    assert not asked

    pending.acknowledged = True
    releaser.flush()
    releaser.flush()

    assert asked == [claim]
    assert kept(claimcheck) == {claim.key}


def test_a_message_that_never_settles_keeps_its_payload(claimcheck, releaser, monkeypatch):
    """A failed acknowledgement means a redelivery: the payload is kept and forgotten about."""
    monkeypatch.setattr(module, "SETTLE_TIMEOUT_SECONDS", 0.0)
    claim = offloaded(claimcheck)
    releaser.ended(message(acknowledged=False), claim)
    releaser.flush()

    assert kept(claimcheck) == {claim.key}
    assert not releaser._ended


def test_a_message_that_settles_while_it_is_looked_at_is_released(claimcheck, releaser):
    """A message may settle at any moment, also between two looks at it: its payload goes."""
    looks = iter([False, True])

    class Settling:
        acknowledged = property(lambda _: next(looks, True))

    releaser.ended(Settling(), offloaded(claimcheck))
    releaser.flush()
    releaser.flush()

    assert kept(claimcheck) == set()


def test_a_message_that_cannot_settle_is_forgotten(claimcheck, releaser, caplog):
    """If SQS can no longer confirm a delete, the payload is kept, the log says so, and memory is freed."""
    claim = offloaded(claimcheck)
    releaser.ended(SimpleNamespace(acknowledged=False, settling=True, unsettled=True), claim)
    releaser.flush()

    assert kept(claimcheck) == {claim.key}
    assert "payload kept, its message did not settle" in caplog.text
    assert not releaser._ended


def test_releases_go_in_batches(claimcheck, releaser, store):
    """2,500 payloads that settled together cost three calls."""
    for _ in range(2_500):
        releaser.ended(message(acknowledged=True), offloaded(claimcheck))
    releaser.flush()

    assert store.calls["delete"] == 3
    assert kept(claimcheck) == set()


def test_closing_releases_what_has_settled(claimcheck, releaser):
    """Nothing that may be released is left behind at shutdown."""
    releaser.start()
    for _ in range(20):
        releaser.ended(message(acknowledged=True), offloaded(claimcheck))
    releaser.close()

    assert kept(claimcheck) == set()


def test_a_store_that_fails_stops_nothing(claimcheck, store):
    """A release that fails is counted as an orphan, and raises nothing."""
    claim = offloaded(claimcheck)
    denied = FaultyStore(store, [StoreDeniedError("no s3:DeleteObject")], verbs=["delete"])
    releaser = Releaser(replace(claimcheck, store=denied))
    releaser.ended(message(acknowledged=True), claim)
    releaser.flush()

    assert kept(claimcheck) == {claim.key}


def test_a_payload_that_must_not_be_deleted_is_an_orphan_at_once(claimcheck, store, caplog):
    """Keys whose delete is denied are not tried again, and the other keys are released."""
    caplog.set_level("INFO")
    claims = [offloaded(claimcheck) for _ in range(3)]
    locked, calls = claims[0].key, []

    class Locked(MemoryStore):
        def delete(self, keys):
            calls.append(keys)
            return {key: StoreDeniedError("not deleted") for key in keys if key == locked}

    releaser = Releaser(replace(claimcheck, store=Locked(store.prefix)))
    for claim in claims:
        releaser.ended(message(acknowledged=True), claim)
    releaser.flush()
    releaser.flush()

    assert calls == [[claim.key for claim in claims]]
    said = {record.claim_key: record.message for record in caplog.records}
    assert "it is an orphan: not deleted" in said[claims[0].key]
    assert all(said[claim.key].startswith("payload released [") for claim in claims[1:])


def test_a_foreign_claim_is_never_deleted(claimcheck, releaser, store):
    """A forged message cannot make a worker delete an object that is not ours."""
    store.put("other/object", b"x", {})
    forged = Claim(
        store="default", key="other/object", size_bytes=1, digest="blake3:" + "0" * 64, codec="msgpack",
        compression="none", expanded_bytes=1, created=datetime.now(UTC),
    )  # fmt: skip
    releaser.ended(message(acknowledged=True), forged)
    releaser.flush()

    assert store.get("other/object", 1) == b"x"
    assert "delete" not in store.calls


def test_a_member_that_another_attempt_needs_is_not_marked(claimcheck, releaser):
    """A task whose second retry is to come goes on with its use of a shared payload: that one ends it."""
    shared = claimcheck.put(b"x", uses=1)
    releaser.member_ended(message(acknowledged=True), shared.key, b"a" * 16, is_needed=lambda: True)
    releaser.flush()
    assert len(kept(claimcheck)) == 2

    releaser.member_ended(message(acknowledged=True), shared.key, b"a" * 16)
    releaser.flush()

    assert kept(claimcheck) == set()


def test_members_that_cannot_be_marked_are_counted_at_the_end(claimcheck, recorder, sink, caplog):
    """A worker that ends while the store is unavailable counts each shared payload once, and says so."""
    shared = claimcheck.put(b"x", uses=3)
    broken = FaultyStore(claimcheck.store, [StoreUnavailableError("down")] * 2, verbs=["read"])
    releaser = Releaser(replace(claimcheck, store=broken, recorder=recorder))
    for number in range(2):
        releaser.member_ended(message(acknowledged=True), shared.key, bytes([number]) * 16)
    releaser.flush()
    releaser.close()
    recorder.flush()

    assert sink.total(PAYLOADS_ORPHANED) == 1
    assert caplog.text.count("it is an orphan: the worker ended before the store was available") == 1


class TestPacks:
    @pytest.fixture
    def clock(self):
        """A clock that the test sets."""
        return SimpleNamespace(now=0.0)

    @pytest.fixture
    def in_pack(self, claimcheck, clock):
        """A releaser, and a function that ends one of two members of a pack."""
        releaser = Releaser(claimcheck, clock=lambda: clock.now)
        claim = offloaded(claimcheck)
        ledger.make(claimcheck, claim.key, 2)

        def end(number, **about):
            settled = message(acknowledged=True)
            releaser.member_ended(settled, claim.key, ledger.member(str(number)), in_pack=True, **about)

        return releaser, claim, end

    def test_ends_wait_for_each_other(self, claimcheck, clock, in_pack):
        """Ends in a pack are written together, when the first has waited for five seconds."""
        releaser, claim, end = in_pack
        end(1)
        clock.now = 4.9
        end(2)
        releaser.flush()
        assert ledger.uses(claimcheck, claim.key) == (2, 0)

        clock.now = 5.0
        releaser.flush()
        assert kept(claimcheck) == set()

    def test_the_last_flush_waits_for_nothing(self, claimcheck, in_pack):
        """A worker that stops, and an invocation that ends, write what has ended."""
        releaser, claim, end = in_pack
        end(1)
        releaser.flush(is_last=True)
        assert ledger.uses(claimcheck, claim.key) == (2, 1)

        end(2)
        releaser.close()
        assert kept(claimcheck) == set()

    def test_a_range_that_another_attempt_needs_is_not_marked(self, claimcheck, in_pack):
        """An attempt that is to come keeps its range."""
        releaser, claim, end = in_pack
        end(1, is_needed=lambda: True)
        releaser.flush(is_last=True)

        assert ledger.uses(claimcheck, claim.key) == (2, 0)

"""The rules that ledgers keep on every store with records, as one suite of tests."""

import threading

import pytest

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.keys import ledger_key, new_key
from pipeline.claimcheck.message_size import Wire
from pipeline.errors import PayloadCorruptError
from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.options import Options

IDS = [ledger.member(f"task-{number}") for number in range(40)]


def shared_payload(kept, members_count):
    key = new_key("claims")
    kept.store.put(key, b"payload", {})
    ledger.make(kept, key, members_count)
    return key


def keys(kept):
    return [each.key for each in kept.store.list()]


class LedgerRules:
    """What a ledger does; each class below brings a ``store`` whose prefix is ``claims``."""

    @pytest.fixture
    def kept(self, store):
        """A claim check on that store."""
        return ClaimCheck(store, Codec({}, "msgpack"), Options(), Wire.of("sqs", 0), Recorder(NullSink()))

    def test_the_last_end_deletes_payload_and_ledger(self, kept):
        """While one member has not ended, both stay; its end deletes both."""
        key = shared_payload(kept, 3)
        first = ledger.mark(kept, {key: IDS[:2]})

        assert first.released == set()
        assert keys(kept) == [key, ledger_key(key)]
        assert ledger.mark(kept, {key: IDS[2:3]}).released == {key}
        assert keys(kept) == []

    def test_a_member_counts_once(self, kept):
        """However often a member is marked, it is one end."""
        key = shared_payload(kept, 2)
        for _ in range(3):
            assert ledger.mark(kept, {key: IDS[:1]}).released == set()

        assert keys(kept) == [key, ledger_key(key)]

    def test_an_end_after_the_last_one_does_nothing(self, kept):
        """Without a ledger there is nothing to mark, and no new ledger."""
        key = shared_payload(kept, 1)
        ledger.mark(kept, {key: IDS[:1]})
        again = ledger.mark(kept, {key: IDS[:1]})

        assert (again.released, again.left, keys(kept)) == (set(), {}, [])

    def test_a_second_making_changes_nothing(self, kept):
        """A publish that is tried again makes no new ledger: what has ended stays."""
        key = shared_payload(kept, 2)
        ledger.mark(kept, {key: IDS[:1]})
        ledger.make(kept, key, 5)

        assert ledger.mark(kept, {key: IDS[1:2]}).released == {key}

    def test_many_processes_lose_no_end(self, kept):
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

    def test_many_ledgers_are_marked_together(self, kept):
        """One call marks any number of payloads, and deletes those that are complete."""
        done, open_ = [shared_payload(kept, 1) for _ in range(5)], [shared_payload(kept, 2) for _ in range(5)]
        marked = ledger.mark(kept, dict.fromkeys(done + open_, IDS[:1]))

        assert marked.released == set(done)
        assert sorted(keys(kept)) == sorted(each for key in open_ for each in (key, ledger_key(key)))

    def test_a_damaged_ledger_keeps_its_payload(self, kept):
        """What is no ledger, or of a later version, is an error, and deletes nothing."""
        key = new_key("claims")
        kept.store.put(key, b"payload", {})
        tag = kept.store.records().write(ledger_key(key), b"nonsense", None)

        assert isinstance(ledger.mark(kept, {key: IDS[:1]}).left[key], PayloadCorruptError)

        kept.store.records().write(ledger_key(key), b"\x93\x09\x01\xc4\x00", tag)

        assert "version 9" in str(ledger.mark(kept, {key: IDS[:1]}).left[key])
        assert key in keys(kept)

"""Packs: one object holds the payloads of many messages, each claim is a range, and a ledger ends it."""

import os
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Message
from pipeline.claimcheck.keys import check_key, ledger_key
from pipeline.claimcheck.object_metadata import TaskLabels
from pipeline.claimcheck.packs import pack as packs
from pipeline.claimcheck.packs import ranges
from pipeline.claimcheck.packs.uploads import Uploads
from pipeline.errors import ClaimError, PayloadCorruptError, StoreDeniedError
from pipeline.options import DAY_SECONDS
from pipeline.publisher.unsent import give_up
from pipeline.serializer.publication import Publication
from pipeline.testing import FaultyStore

KEY = b"k" * 32


@pytest.fixture
def uploads(claimcheck):
    made = Uploads(claimcheck)
    yield made
    made.threads.close()


def noise(size):
    return os.urandom(size)


def add(uploads, claimcheck, value, wait_seconds=0.0):
    labels = TaskLabels("t", "id", "q")
    return uploads.add(claimcheck.seal(value), labels, wait_seconds, lambda *_: None)


def packed(claimcheck, uploads, values):
    """Return the claims of values in one pack that is stored."""
    collected = [add(uploads, claimcheck, value) for value in values]
    for each in collected:
        each.upload.wait()
    return [each.claim for each in collected]


def objects(store):
    return sorted(found.key for found in store.list())


def end(claimcheck, claims):
    return ledger.mark(claimcheck, {claims[0].key: {ranges.member(claim, "id") for claim in claims}})


def test_each_claim_is_a_range(claimcheck, uploads, store):
    """Payloads share one object, and each claim brings its own value back, verified."""
    values = [[noise(size)] for size in (1, 300, 70_000)]
    claims = packed(claimcheck, uploads, values)

    assert objects(store) == [claims[0].key, ledger_key(claims[0].key)]
    assert [claim.offset for claim in claims] == [0, claims[0].size_bytes, claims[2].offset]
    assert [claimcheck.rehydrate(claim) for claim in claims] == values


def test_the_last_end_deletes_the_pack(claimcheck, uploads, store):
    """The pack stays until each payload's use has ended, and an end that comes twice counts once."""
    claims = packed(claimcheck, uploads, [noise(100) for _ in range(3)])
    for _ in range(2):
        assert end(claimcheck, claims[:2]).released == set()
    assert len(objects(store)) == 2

    assert end(claimcheck, claims[2:]).released == {claims[0].key}
    assert objects(store) == []


def test_release_deletes_no_pack(claimcheck, uploads, store):
    """One claim of a pack is no reason to delete the object that others name."""
    claims = packed(claimcheck, uploads, [noise(100) for _ in range(2)])
    claimcheck.release(claims[:1])

    assert len(objects(store)) == 2


def test_large_payloads_are_objects_of_their_own(claimcheck, uploads, store):
    """A payload above a sixteenth of a pack is not packed."""
    claim = packed(claimcheck, uploads, [noise(claimcheck.options.pack_bytes // 16)])[0]

    assert claim.offset is None
    assert objects(store) == [claim.key]


def test_a_pack_is_small(claimcheck):
    """A pack takes no more bytes than the option says."""
    uploads = Uploads(replace(claimcheck, options=replace(claimcheck.options, pack_bytes=16_000)))
    collected = [add(uploads, claimcheck, noise(900)) for _ in range(19)]
    uploads.threads.close()

    assert len({each.claim.key for each in collected}) == 2


def test_a_pack_takes_so_many_payloads(claimcheck, uploads, monkeypatch):
    """The next payload begins another pack, and the first pack is on its way then."""
    monkeypatch.setattr(packs, "PAYLOADS_COUNT", 3)
    collected = [add(uploads, claimcheck, noise(10)) for _ in range(4)]
    keys = [each.claim.key for each in collected]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert [each.upload.has_begun for each in collected] == [True, True, True, False]


def test_tasks_of_other_days_are_in_other_packs(claimcheck, uploads):
    """The day in a pack's key is that of all its tasks, so the sweep is right about each of them."""
    now, later = (add(uploads, claimcheck, noise(10), days * DAY_SECONDS) for days in (0, 3))
    again = add(uploads, claimcheck, noise(10))

    assert now.claim.key == again.claim.key != later.claim.key


def test_a_message_to_several_queues_has_a_member_for_each(claimcheck, uploads, store):
    """A payload that two queues get is two members, however often that is counted."""
    collected = [add(uploads, claimcheck, noise(10)) for _ in range(2)]
    publication = Publication(task_id="id", collected=collected[:1], named=[collected[0].claim])
    assert publication.share(2)
    assert publication.share(2)
    for each in collected:
        each.upload.wait()
    first, second = (each.claim for each in collected)

    ended = [ranges.member(second, "id"), *(ranges.member(first, "id", queue) for queue in "ab")]
    assert ledger.mark(claimcheck, {first.key: ended[:2]}).released == set()
    assert ledger.mark(claimcheck, {first.key: ended[2:]}).released == {first.key}


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_message_that_is_not_sent_is_no_member(claimcheck, uploads, store, is_stored):
    """Its payload does not keep the pack of the others, whether the pack was stored before or not."""
    collected = [add(uploads, claimcheck, noise(10)) for _ in range(3)]
    if is_stored:
        collected[0].upload.wait()
    unsent = [
        Publication(task_id="id", collected=[each], claims=[each.claim], named=[each.claim])
        for each in collected[:2]
    ]
    give_up(claimcheck, unsent, [])
    collected[2].upload.wait()

    assert claimcheck.rehydrate(collected[2].claim)
    assert end(claimcheck, [collected[2].claim]).released == {collected[2].claim.key}
    assert objects(store) == []


def test_a_pack_that_no_message_names_is_not_stored(claimcheck, uploads, store):
    """If none of its messages was sent, nothing is stored."""
    each = add(uploads, claimcheck, noise(10))
    assert each.upload.remove(each.claim)
    each.upload.wait()

    assert objects(store) == []


@pytest.mark.parametrize("verb", ["put", "write"])
def test_a_pack_that_fails_leaves_nothing(claimcheck, store, verb):
    """If the pack or its ledger is not stored, nothing of it stays."""
    broken = replace(claimcheck, store=FaultyStore(store, [StoreDeniedError("no")], verbs=[verb]))
    uploads = Uploads(broken)
    each = add(uploads, claimcheck, noise(10))
    with pytest.raises(StoreDeniedError):
        each.upload.wait()
    uploads.threads.close()

    assert objects(store) == []


class TestClaims:
    @pytest.fixture
    def claim(self, claimcheck, uploads):
        return packed(claimcheck, uploads, [noise(100), noise(100)])[1]

    @pytest.mark.parametrize("key", [None, KEY])
    def test_the_offset_travels(self, claim, key):
        """The range is part of the claim, and is signed with it; a claim of a whole object has no offset."""
        message = Message(shape="task", payload=claim)
        written = wire_form.write(message, key)
        assert wire_form.read(written, key).payload == claim

        whole = wire_form.write(
            Message(shape="task", payload=msgspec.structs.replace(claim, offset=None)), key
        )
        assert b"offset" in written
        assert b"offset" not in whole

    def test_a_forged_offset_breaks_the_signature(self, claim):
        """Nobody moves a signed claim to another range."""
        written = wire_form.write(Message(shape="task", payload=claim), KEY)
        name = b"\xa6offset"
        at = written.index(name) + len(name)
        forged = written[:at] + bytes([written[at] ^ 1]) + written[at + 1 :]

        with pytest.raises(ClaimError):
            wire_form.read(forged, KEY)

    @pytest.mark.parametrize(
        "change",
        [
            {"offset": 5 * 2**40},
            {"offset": 0, "size_bytes": 0},
            {"offset": 5 * 2**40 - 1, "size_bytes": 100},
        ],
    )
    def test_a_range_that_no_object_has_is_rejected(self, claimcheck, claim, change):
        """A range ends where the largest object may end, and has a byte at least."""
        with pytest.raises(ClaimError, match="no object has bytes"):
            claimcheck.check(msgspec.structs.replace(claim, **change))

    @pytest.mark.parametrize("offset", [-1, 2**63, "1", 1.5])
    def test_an_offset_is_a_number_of_bytes(self, claim, offset):
        """Any other offset is rejected when the message is read."""
        plain = msgspec.to_builtins(claim) | {"type": "claim", "offset": offset, "created": claim.created}
        content = msgspec.msgpack.encode({"shape": "task", "payload": plain})

        with pytest.raises(ClaimError, match="claim rejected"):
            wire_form.read(msgspec.msgpack.encode([1, content, b""]))

    @pytest.mark.parametrize("beyond", [1, 10_000])
    def test_a_range_outside_of_its_pack_is_corrupt(self, claimcheck, claim, beyond):
        """A range that the pack does not have is an error of the payload, and no other bytes are read."""
        forged = msgspec.structs.replace(claim, offset=claim.offset + beyond)

        with pytest.raises(PayloadCorruptError):
            claimcheck.rehydrate(forged)

    def test_a_range_of_other_bytes_is_corrupt(self, claimcheck, claim):
        """The digest is that of the range."""
        with pytest.raises(PayloadCorruptError, match="digest"):
            claimcheck.rehydrate(msgspec.structs.replace(claim, offset=claim.offset - 1))

    def test_a_store_without_ranges_says_so(self, claimcheck, claim):
        """A worker whose store has no ranges rejects the claim, and says why."""

        class Plain:
            prefix = "claims"

            def get(self, key, size_bytes): ...

        with pytest.raises(ClaimError, match="has no ranges"):
            replace(claimcheck, store=Plain()).rehydrate(claim)

    def test_a_retry_keeps_its_range(self, claimcheck, claim, store):
        """A claim of a pack is reusable for the same payload, and for no other."""
        data = store.get_range(claim.key, claim.offset, claim.offset + claim.size_bytes)
        value = claimcheck.rehydrate(claim)
        sealed = claimcheck.seal(value)

        assert sealed.data == data
        assert claimcheck.is_reusable(claim, sealed)
        assert not claimcheck.is_reusable(claim, claimcheck.seal(value[:-1] + bytes([value[-1] ^ 1])))
        old = msgspec.structs.replace(claim, created=claim.created - timedelta(days=2))
        assert not claimcheck.is_reusable(old, sealed)


def test_a_store_without_ranges_gets_no_packs(claimcheck):
    """Where the store has no ranges or no records, each payload is an object of its own."""

    class Plain:
        prefix = "claims"
        put = delete = lambda *_: {}

    uploads = Uploads(replace(claimcheck, store=Plain()))
    collected = add(uploads, claimcheck, noise(10))
    uploads.threads.close()

    assert collected.claim.offset is None
    check_key(collected.claim.key, "claims")

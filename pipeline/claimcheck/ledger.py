"""The ledger: which members of a shared payload have ended; whoever completes it deletes both.

A *member* is one message of one task that names the payload. The ledger is a record beside the payload
(``stores/records.py``), made with it, and is changed by conditional writes alone: read, add what has ended,
write if nobody has written since, else again. An end is a fact that stays, so the order of writes does not
matter, and a member that is marked twice counts once. A process that finds all others in the ledger deletes
the payload without writing: nobody needs the ledger any more. Without a ledger there is nothing to do: the
payload is gone, or belongs to the sweep.

A ledger has no signature. Whoever can write one can delete its payload, too.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from blake3 import blake3

from pipeline.claimcheck.claim import Share
from pipeline.claimcheck.keys import check_stored_key, ledger_key, payload_key
from pipeline.errors import ClaimError, PayloadCorruptError, PipelineError, StoreError, StoreUnavailableError
from pipeline.stores.records import RecordKeeper, Records, records_of

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

VERSION = 1

MEMBER_BYTES = 16

MEMBERS_LIMIT = 100_000
"""Most members of one payload: each write of a ledger writes all that have ended, 16 bytes each."""

WRITES_COUNT = 8
"""So often a ledger is read anew because others have changed it; then it is left for the next time."""

SIDE_BY_SIDE_COUNT = 10
"""So many ledgers are changed at the same time."""

Ends = Mapping[str, Collection[bytes]]
"""Members that have ended, by the key of their payload."""


class _Ledger(msgspec.Struct, frozen=True, array_like=True):
    version: int
    members_count: int
    ended: bytes
    """Of each member that has ended, its id; in order, so that one state has one content."""

    @property
    def ids(self) -> set[bytes]:
        starts = range(0, len(self.ended), MEMBER_BYTES)
        return {self.ended[start : start + MEMBER_BYTES] for start in starts}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Ledger).decode


@dataclass(slots=True)
class Marked:
    """What became of marks."""

    released: set[str] = field(default_factory=set)
    """Keys of payloads that are deleted now, with their ledgers."""
    left: dict[str, PipelineError] = field(default_factory=dict)
    """By key, why nothing was marked, or nothing deleted. A retryable one may be marked again."""


def member(task_id: str, queue: str = "") -> bytes:
    """Return the id of a member: 16 bytes.

    Args:
        task_id: id of the task.
        queue: name of its queue, if its message went to several.
    """
    return blake3(f"{len(task_id)}:{task_id}{queue}".encode(errors="surrogatepass")).digest(MEMBER_BYTES)


def is_kept_by(claimcheck: "ClaimCheck") -> bool:
    """Say whether the store can have ledgers."""
    return isinstance(claimcheck.store, RecordKeeper)


def check_members_count(count: object) -> None:
    """Check a number of members before anything is stored.

    Raises:
        ValueError: it is out of range.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= MEMBERS_LIMIT:
        raise ValueError(f"uses={count!r}: expected a whole number from 1 to {MEMBERS_LIMIT}")


def make(claimcheck: "ClaimCheck", key: str, members_count: int) -> None:
    """Make the ledger of a payload: one conditional PUT. Safe to call twice: the first one counts.

    Raises:
        ValueError: the number of members is out of range, or the store has no records.
        StoreError: the ledger was not made, or may not have been.
    """
    check_members_count(members_count)
    records = records_of(claimcheck.store)
    content = _encode(_Ledger(VERSION, members_count, b""))
    claimcheck.with_retries(lambda: records.write(ledger_key(key), content, None))


def make_or_delete(claimcheck: "ClaimCheck", key: str, members_count: int) -> None:
    """Make the ledger of a payload that was just stored, or delete that payload.

    Raises:
        ValueError: the store has no records.
        StoreError: the ledger was not made, or may not have been.
    """
    try:
        make(claimcheck, key, members_count)
    except BaseException:
        with suppress(StoreError):
            claimcheck.store.delete([key, ledger_key(key)])
        raise


def drop(claimcheck: "ClaimCheck", keys: Collection[str]) -> None:
    """Delete the ledgers of payloads that no message names. Never raises: the sweep finds those that stay."""
    if keys:
        with suppress(StoreError):
            claimcheck.store.delete([ledger_key(key) for key in keys])


def mark(claimcheck: "ClaimCheck", ends: Ends) -> Marked:
    """Mark members as ended, and delete the payloads that nobody needs any more. Never raises.

    For each payload a GET and a PUT, or two at least if others write at the same time; for all that are
    complete one DELETE. Safe to repeat.
    """
    marked = Marked()
    if not ends or not is_kept_by(claimcheck):
        return marked
    records, complete = records_of(claimcheck.store), list[str]()
    for key, outcome in _each(ends, lambda key: _try(records, key, set(ends[key]))):
        if isinstance(outcome, PipelineError):
            marked.left[key] = outcome
        elif outcome:
            complete.append(key)
    marked.left |= _delete(claimcheck, complete)
    marked.released = set(complete) - marked.left.keys()
    return marked


class Uses(NamedTuple):
    """How far the members of a shared payload are."""

    members_count: int
    ended_count: int


def uses(claimcheck: "ClaimCheck", key: str) -> Uses | None:
    """Return how many members a payload has, and how many of them have ended: one GET; None without a ledger.

    Raises:
        PayloadCorruptError: something else wrote the ledger.
        StoreError: from the store.
    """
    if not is_kept_by(claimcheck):
        return None
    place = ledger_key(key)
    found = claimcheck.with_retries(lambda: records_of(claimcheck.store).read(place))
    if found is None:
        return None
    ledger = _read(found[0], place)
    return Uses(ledger.members_count, len(ledger.ids))


def is_ours(claimcheck: "ClaimCheck", share: Share) -> bool:
    """Say whether a message may name a shared payload: of this app's store, and by a key of ours."""
    try:
        check_stored_key(share.key, claimcheck.store.prefix)
    except ClaimError:
        return False
    return share.store == claimcheck.options.alias


def _each(
    ends: Ends, act: Callable[[str], bool | PipelineError]
) -> Iterator[tuple[str, bool | PipelineError]]:
    if len(ends) == 1:
        yield from ((key, act(key)) for key in ends)
        return
    with ThreadPoolExecutor(SIDE_BY_SIDE_COUNT, "claimcheck-ledger") as pool:
        yield from zip(ends, pool.map(act, ends), strict=True)


def _try(records: Records, key: str, ended: set[bytes]) -> bool | PipelineError:
    try:
        return _mark(records, key, ended)
    except PipelineError as exc:
        return exc


def _mark(records: Records, key: str, ended: set[bytes]) -> bool:
    """Mark members, and return whether all members have ended."""
    place = ledger_key(key)
    for _ in range(WRITES_COUNT):
        found = records.read(place)
        if found is None:
            return False
        ledger = _read(found[0], place)
        together = ledger.ids | ended
        if len(together) >= ledger.members_count:
            return True
        if together == ledger.ids:
            return False
        content = _encode(_Ledger(VERSION, ledger.members_count, b"".join(sorted(together))))
        if records.write(place, content, found[1]) is not None:
            return False
    raise StoreUnavailableError(f"ledger not changed [key={place}]: others changed it {WRITES_COUNT} times")


def _read(content: bytes, place: str) -> _Ledger:
    try:
        ledger = _decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise PayloadCorruptError(f"ledger corrupt [key={place}]: something else wrote it") from None
    if ledger.version != VERSION:
        raise PayloadCorruptError(
            f"ledger not read [key={place}]: version {ledger.version}; upgrade workers before producers"
        )
    return ledger


def _delete(claimcheck: "ClaimCheck", keys: Collection[str]) -> dict[str, PipelineError]:
    """Delete payloads and ledgers, a payload first; return the error of each payload."""
    if not keys:
        return {}
    try:
        left = claimcheck.store.delete([each for key in keys for each in (key, ledger_key(key))])
    except PipelineError as exc:
        return dict.fromkeys(keys, exc)
    return {payload_key(key): error for key, error in left.items()}

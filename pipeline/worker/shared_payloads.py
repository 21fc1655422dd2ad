"""Marks members of shared payloads whose messages have settled, in the worker's main process.

All members of one payload that have settled together are marked with one write of its ledger.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import PipelineError, StoreUnavailableError
from pipeline.metrics.table import PAYLOADS_ORPHANED, PAYLOADS_RELEASED
from pipeline.telemetry import log_lines
from pipeline.worker.ended import Ended, EndedMember

logger = log_lines.logger(__name__)


PACK_SECONDS = 5.0
"""So long the first end in a pack waits for others: a write of the ledger costs as much as a PUT of a payload
(docs/explanation/costs.md)."""


def due(settled: Sequence[Ended], now: float) -> tuple[list[Ended], list[Ended]]:
    """Divide what has settled into what is to be done now, and members that wait for others of their pack."""
    waiting = [each for each in settled if isinstance(each, EndedMember) and each.in_pack]
    begun = {each.key for each in waiting if now - each.since >= PACK_SECONDS}
    later = {id(each) for each in waiting if each.key not in begun}
    return [each for each in settled if id(each) not in later], [
        each for each in waiting if id(each) in later
    ]


def mark(claimcheck: ClaimCheck, settled: Sequence[EndedMember]) -> list[EndedMember]:
    """Mark members, release the payloads that nobody needs any more, and return what to mark again later."""
    by_key = _by_key(settled)
    ends = {key: {each.id for each in found} for key, found in by_key.items()}
    marked = ledger.mark(claimcheck, ends)
    claimcheck.recorder.record(PAYLOADS_RELEASED, _released_count(by_key, marked))
    for key in marked.released:
        logger.info("shared payload released", extra=by_key[key][-1].log_fields())
    for key, error in marked.left.items():
        if not error.retryable:
            _report(claimcheck, by_key[key], error)
    return [each for key, error in marked.left.items() if error.retryable for each in by_key[key]]


def orphan(claimcheck: ClaimCheck, left: Sequence[EndedMember]) -> None:
    """Count shared payloads whose members this process cannot mark any more: their ledgers lack an end."""
    for members in _by_key(left).values():
        _report(claimcheck, members, StoreUnavailableError("the worker ended before the store was available"))


def _by_key(members: Sequence[EndedMember]) -> Mapping[str, list[EndedMember]]:
    by_key = defaultdict[str, list[EndedMember]](list)
    for ended in members:
        by_key[ended.key].append(ended)
    return by_key


def _released_count(by_key: Mapping[str, Sequence[EndedMember]], marked: ledger.Marked) -> int:
    """Count payloads: a shared one when it is deleted, each range of a pack when its use is over."""
    return sum(
        len({each.id for each in found}) if found[0].in_pack else key in marked.released
        for key, found in by_key.items()
        if key not in marked.left
    )


def _report(claimcheck: ClaimCheck, members: Sequence[EndedMember], error: PipelineError) -> None:
    claimcheck.recorder.record(PAYLOADS_ORPHANED, len(members) if members[0].in_pack else 1)
    fields = members[-1].log_fields()
    logger.error("shared payload not released, it is an orphan: %s", error, extra=fields)

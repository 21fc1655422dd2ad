"""Marks members of shared payloads whose messages have settled, in the worker's main process.

All members of one payload that have settled together are marked with one write of its ledger.
"""

from collections import defaultdict
from collections.abc import Sequence

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import PipelineError, StoreUnavailableError
from pipeline.metrics.table import PAYLOADS_ORPHANED, PAYLOADS_RELEASED
from pipeline.telemetry import log_lines
from pipeline.worker.ended import EndedMember

logger = log_lines.logger(__name__)


def mark(claimcheck: ClaimCheck, settled: Sequence[EndedMember]) -> list[EndedMember]:
    """Mark members, release the payloads that nobody needs any more, and return what to mark again later."""
    by_key = defaultdict[str, list[EndedMember]](list)
    for ended in settled:
        by_key[ended.key].append(ended)
    ends = {key: {each.id for each in found} for key, found in by_key.items()}
    marked = ledger.mark(claimcheck, ends)
    claimcheck.recorder.record(PAYLOADS_RELEASED, len(marked.released))
    for key in marked.released:
        logger.info("shared payload released", extra=by_key[key][-1].log_fields())
    for key, error in marked.left.items():
        if not error.retryable:
            _report(claimcheck, by_key[key][-1], error)
    return [each for key, error in marked.left.items() if error.retryable for each in by_key[key]]


def orphan(claimcheck: ClaimCheck, left: Sequence[EndedMember]) -> None:
    """Count shared payloads whose members this process cannot mark any more: their ledgers lack an end."""
    for ended in {each.key: each for each in left}.values():
        _report(claimcheck, ended, StoreUnavailableError("the worker ended before the store was available"))


def _report(claimcheck: ClaimCheck, ended: EndedMember, error: PipelineError) -> None:
    claimcheck.recorder.record(PAYLOADS_ORPHANED)
    logger.error("shared payload not released, it is an orphan: %s", error, extra=ended.log_fields())

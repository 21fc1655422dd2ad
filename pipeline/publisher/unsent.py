"""Releases or keeps the payloads of messages that were not sent, or may not have been sent.

A payload of a message that the broker has certainly not taken is released. After a timeout or a lost
connection the message may be on the queue: then the payload stays, and the sweep decides.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.packs import ranges
from pipeline.deferred.child_pipe import reuses
from pipeline.serializer.publication import Publication
from pipeline.transport import certainly_not_sent
from pipeline.transport.send.entries import Parcel


def give_up(claimcheck: ClaimCheck, unsent: Sequence[Publication], unclear: Sequence[Publication]) -> None:
    """Release the payloads of many publications with one call of the store, and count those left behind."""
    _withdraw(unsent)
    left = claimcheck.release([claim for publication in unsent for claim in publication.claims])
    ledger.mark(claimcheck, _packed(unsent))
    ledger.drop(claimcheck, [key for publication in unsent for key in publication.ledgers])
    for publication in unsent:
        kept = [claim for claim in publication.claims if claim in left]
        claimcheck.orphan(kept, publication.queue, publication.task)
    for publication in unclear:
        claimcheck.orphan(publication.claims, publication.queue, publication.task)


def abandon(claimcheck: ClaimCheck, publication: Publication, parcel: Parcel, exc: Exception) -> None:
    """Do the same for one publication that ended in an error and was not collected."""
    if parcel.is_sent:  # what failed came after it: a handler of a signal, or the task-sent event
        return
    is_certain = publication.uploads is not None or certainly_not_sent(exc)  # what is collected is sent later
    if is_certain and not parcel.is_unclear:
        give_up(claimcheck, [publication], [])
    else:
        give_up(claimcheck, [], [publication])


def leave_earlier(claimcheck: ClaimCheck, publication: Publication) -> None:
    """Count the payloads of earlier tries to send a publication: the message that was sent names the last."""
    removed = {each.claim for each in publication.collected[:-1] if each.upload.remove(each.claim)}
    earlier = [claim for claim in publication.claims[:-1] if claim not in removed]
    claimcheck.orphan(earlier, publication.queue, publication.task)


def _packed(unsent: Sequence[Publication]) -> Mapping[str, set[bytes]]:
    """Return the members of packs that have ended with messages which were not sent, by the pack's key."""
    ends = defaultdict[str, set[bytes]](set)
    for publication in unsent:
        for claim, upload, _ in publication.collected:
            if upload.has_begun and upload.is_for_one(claim) and upload.error() is None:
                ends[claim.key].add(ranges.member(claim, publication.task_id))
    return ends


def _withdraw(unsent: Sequence[Publication]) -> None:
    for publication in unsent:
        publication.withdraw()
        for mark in publication.marks:
            reuses.withdraw(mark)

"""Payloads of messages that were not sent."""

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.metrics import table as metrics
from pipeline.metrics.recorder import Recorder
from pipeline.publisher.unsent import give_up
from pipeline.serializer.publication import Publication


def test_payloads_are_released_or_counted(claimcheck, store, noise):
    """Of what was not sent the payload goes, in one call; of what is unclear it stays, and is counted."""

    class Sink:
        def __init__(self):
            self.seen = []

        def emit(self, batch):
            self.seen += batch

    sink = Sink()
    recording = ClaimCheck(
        claimcheck.store, claimcheck.codec, claimcheck.options, claimcheck.wire, Recorder(sink)
    )
    made = [Publication(task="t", queue="q", task_id=str(number)) for number in range(3)]
    for publication in made:
        publication.claims.append(recording.offload(recording.seal(noise)).claim)
    give_up(recording, made[:2], made[2:])
    recording.recorder.close()

    assert [stored.key for stored in store.list()] == [made[2].claims[0].key]
    (orphaned,) = [each for each in sink.seen if each.metric == metrics.PAYLOADS_ORPHANED]
    assert (orphaned.queue, orphaned.task, orphaned.values) == ("q", "t", {1: 1})

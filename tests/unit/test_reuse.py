"""Which retries publish their attempt's payload once more."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from celery import Celery
from celery import Task as CeleryTask
from celery._state import _task_stack

import pipeline
from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Claim, Message
from pipeline.claimcheck.message_size import Envelope
from pipeline.deferred import child_pipe, payload
from pipeline.deferred.body import retried
from pipeline.deferred.child_pipe import Reuses
from pipeline.errors import ClaimError
from pipeline.metrics import table as metrics
from pipeline.metrics.recorder import Recorder
from pipeline.options import DAY_SECONDS, REUSE_SECONDS, Options
from pipeline.serializer import serializer
from pipeline.serializer.publication import Publication, publishing


@pytest.fixture
def reuses(reuses, monkeypatch):
    """The notes of this test alone, which retries write and the test reads."""
    monkeypatch.setattr(payload, "reuses", reuses)
    return reuses


NO_SIGNATURES = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.fixture
def threshold():
    return 0


class Task(CeleryTask):
    name = "t"


@contextmanager
def running(body, *, task_id="id", retries=0):
    """Be in the middle of a task that was called with this message body."""
    app = Celery("reuse", set_as_current=False)
    task = app.register_task(Task())
    args, kwargs, _ = serializer.decode(body)
    task.push_request(id=task_id, retries=retries, args=args, kwargs=kwargs)
    _task_stack.push(task)
    try:
        yield args
    finally:
        _task_stack.pop()
        task.pop_request()


def publish(args, *, task_id="id", retries=1):
    """Encode what a retry would publish, and return the publication and the payload of the message."""
    publication = Publication(
        task="t", task_id=task_id, envelope=Envelope(headers={"id": task_id, "retries": retries})
    )
    with publishing(publication):
        return publication, wire_form.read(serializer.encode((list(args), {}, NO_SIGNATURES))).payload


def first(claimcheck, *args):
    body = serializer.encode((args, {}, NO_SIGNATURES))
    return body, wire_form.read(body).payload


def test_a_retry_publishes_the_same_claim(claimcheck, store, reuses):
    """The next attempt with equal arguments names the same payload, stores nothing, and main knows."""
    body, claim = first(claimcheck, [1, {"a": b"x"}], "text")
    with running(body) as args:
        publication, again = publish(list(args))

    assert again == claim
    assert store.calls == {"put": 1, "get": 1}
    assert publication.claims == []
    assert publication.marks == [child_pipe.mark("id", 0, claim.key)]
    assert reuses.holds(publication.marks[0])
    assert publication.headers["claimcheck"]["key"] == claim.key


def test_what_was_changed_in_place_is_stored_anew(claimcheck, store, reuses):
    """Payloads are compared after encoding, and a changed one is stored anew."""
    body, claim = first(claimcheck, [1, 2])
    with running(body) as args:
        args[0].reverse()
        publication, again = publish(list(args))

    assert again.key != claim.key
    assert (publication.claims, publication.marks) == ([again], [])
    assert not reuses.holds(child_pipe.mark("id", 0, claim.key))


@pytest.mark.parametrize("published", [{"task_id": "other"}, {"retries": 0}, {"retries": 2}])
def test_only_the_next_attempt_is_a_retry(claimcheck, reuses, published):
    """Another task, a call under the same id, and any other attempt have payloads of their own."""
    body, claim = first(claimcheck, 1)
    with running(body) as args:
        _, again = publish(list(args), **published)

    assert again.key != claim.key


def test_one_attempt_gives_its_payload_away_once(claimcheck, reuses):
    """A second retry of the same attempt has a payload of its own: either may end first."""
    body, claim = first(claimcheck, 1)
    with running(body) as args:
        kept, anew = publish(list(args))[1], publish(list(args))[1]

    assert kept.key == claim.key != anew.key


def test_an_unread_payload_is_not_reused(claimcheck, reuses):
    """Only what was read, and so checked against its claim, may be published once more."""
    body, _ = first(claimcheck, 1)
    with running(body) as args:
        assert retried("id", 1) is None
        assert list(args) == [1]
        assert retried("id", 1) is args.deferred

    assert retried("id", 1) is None


def test_without_a_pipe_a_retry_has_its_own_payload(claimcheck, monkeypatch):
    """Without a worker's main process that knows, nothing is reused."""
    monkeypatch.setattr(payload, "reuses", Reuses())
    body, claim = first(claimcheck, 1)
    with running(body) as args:
        publication, again = publish(list(args))

    assert again.key != claim.key
    assert publication.marks == []


def test_reuse_is_counted(claimcheck, reuses):
    """A payload that is kept counts as reused, and not as offloaded."""
    counted = []

    class Sink:
        def emit(self, batch):
            counted.extend(series.metric for series in batch)

    body, _ = first(claimcheck, 1)
    recorder = Recorder(Sink())
    serializer.install(replace(claimcheck, recorder=recorder))
    with running(body) as args:
        publish(list(args))
    recorder.close()

    assert metrics.PAYLOADS_REUSED in counted
    assert metrics.PAYLOADS_OFFLOADED not in counted


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"created": timedelta(seconds=REUSE_SECONDS - 600)}, True),
        ({"created": timedelta(seconds=REUSE_SECONDS + 1)}, False),
        ({"created": -timedelta(seconds=60)}, True),
        ({"created": -timedelta(seconds=REUSE_SECONDS + 600)}, False),
        ({"store": "other"}, False),
        ({"key": "elsewhere/v1/0a/2026/01/01/" + "0" * 40}, False),
        ({"digest": "blake3:" + "0" * 64}, False),
        ({"codec": "pickle"}, False),
        ({"compression": "other"}, False),
        ({"expanded_bytes": 999}, False),
        ({"size_bytes": 1}, False),
    ],
)
def test_which_claims_stand_for_a_payload(claimcheck, changes, expected):
    """A claim is published again if it is young, of our store, and says of the payload what is so."""
    sealed = claimcheck.seal([[1, 2, 3], {}, []])
    claim = claimcheck.offload(sealed).claim
    if "created" in changes:  # so long ago
        changes = {"created": datetime.now(UTC) - changes["created"]}

    assert claimcheck.is_reusable(msgspec.structs.replace(claim, **changes), sealed) is expected


@pytest.mark.parametrize(("wait_seconds", "expected"), [(REUSE_SECONDS - 60, True), (REUSE_SECONDS, False)])
def test_a_payload_is_not_kept_for_a_retry_that_is_far_off(claimcheck, wait_seconds, expected):
    """Its key says when it was to be used at first, and from that day the sweep counts its age."""
    sealed = claimcheck.seal([[1, 2, 3], {}, []])
    claim = claimcheck.offload(sealed).claim

    assert claimcheck.is_reusable(claim, sealed, wait_seconds) is expected


def test_a_claim_without_a_time_zone_is_rejected(claimcheck):
    """A claim without a time zone is rejected, because its age is unknown."""
    claim = claimcheck.offload(claimcheck.seal(1)).claim
    naive = Claim(**{**msgspec.structs.asdict(claim), "created": datetime(2026, 1, 1)})
    body = wire_form.write(Message(shape="task", payload=naive))

    with pytest.raises(ClaimError, match="claim rejected"):
        wire_form.read(body)


@pytest.mark.parametrize(("extra_seconds", "raises"), [(0, True), (1, False)])
def test_the_time_chain_counts_a_day_of_retries(extra_seconds, raises):
    """A payload's life must exceed a day of retries, the queue's retention and that of its dead letters."""
    app = Celery("times", broker="sqs://", set_as_current=False)
    seconds = REUSE_SECONDS + (4 + 14) * DAY_SECONDS + extra_seconds
    try:
        if raises:
            with pytest.raises(ValueError, match="plus a day for retries"):
                pipeline.install(app, "memory://times", payload_ttl_seconds=seconds)
        else:
            pipeline.install(app, "memory://times", payload_ttl_seconds=seconds)
    finally:
        pipeline.uninstall()
        app.close()


def test_the_defaults_suffice_for_the_longest_retention():
    """The default life of a payload is enough for queues that keep messages as long as SQS can."""
    assert Options().payload_ttl_seconds > REUSE_SECONDS + 2 * 14 * DAY_SECONDS

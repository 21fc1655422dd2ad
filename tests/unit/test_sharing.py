"""Shared values: what a message says of them, what a task gets, and which message ends a use."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from celery import Celery
from celery import Task as CeleryTask
from celery._state import _task_stack
from celery.exceptions import Reject
from kombu.exceptions import EncodeError
from kombu.serialization import dumps
from kombu.utils import json

import pipeline
from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck import ledger
from pipeline.claimcheck.keys import ledger_key, ttl_days_of
from pipeline.claimcheck.message_size import Envelope
from pipeline.deferred import child_pipe, payload
from pipeline.errors import (
    PayloadEncodeError,
    PayloadExpiresError,
    PayloadMissingError,
    StoreUnavailableError,
)
from pipeline.metrics import table as metrics
from pipeline.serializer import encoding, serializer
from pipeline.serializer.publication import Publication, publishing

NO_LINKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
ROWS = [{"name": "row", "number": number} for number in range(200)]


@pytest.fixture(params=["msgpack", "pickle"])
def options(request):
    return {"codec": request.param}


@pytest.fixture
def notes(reuses, monkeypatch):
    """The notes of this test alone."""
    monkeypatch.setattr(payload, "reuses", reuses)
    monkeypatch.setattr(encoding, "reuses", reuses)
    return reuses


class Task(CeleryTask):
    name = "t"


@contextmanager
def running(body, task_id="id"):
    """Be in the middle of a task that was called with this message body."""
    task = Celery("sharing", set_as_current=False).register_task(Task())
    args, kwargs, _ = serializer.decode(body)
    task.push_request(id=task_id, retries=0, args=args, kwargs=kwargs)
    _task_stack.push(task)
    try:
        yield args, kwargs
    finally:
        _task_stack.pop()
        task.pop_request()


def encoded(*args, task_id="id", embed=NO_LINKS, wait_seconds=0.0, **kwargs):
    envelope = Envelope(headers={"id": task_id, "retries": 1})
    about = Publication(task="t", task_id=task_id, envelope=envelope, wait_seconds=wait_seconds)
    with publishing(about):
        return serializer.encode((args, kwargs, embed))


def shares(body):
    return [share.key for share in wire_form.read(body).shares]


def mark_of(key):
    return child_pipe.member_mark({"id": "id"}, key)


def test_a_task_gets_the_value_itself(claimcheck, store):
    """Two messages name one payload, also inside of lists and maps, and each task reads it once."""
    rows = pipeline.shared(ROWS, uses=2)
    body = encoded(rows, [1, {"again": rows}], named=rows)

    assert shares(body) == [rows.handle.key]
    assert len(body) < 1_500
    with running(body) as (args, kwargs):
        assert list(args) == [ROWS, [1, {"again": ROWS}]]
        assert dict(kwargs) == {"named": ROWS}
    assert store.calls["get"] == 1
    assert [each.key for each in store.list()] == [rows.handle.key, ledger_key(rows.handle.key)]


def test_a_main_process_reads_no_shared_value(claimcheck, store):
    """Where no task runs, the arguments hold what stands for the value, and monitors get no more."""
    rows = pipeline.shared(ROWS, uses=1)
    args, _, _ = serializer.decode(encoded(rows))

    assert args.deferred.stored()[0] != [ROWS]
    assert list(args) == [rows]
    assert store.calls["get"] == 0


def test_a_handle_with_uses_counts_too(claimcheck):
    """A message names the payloads of handles that count their uses, and of no others."""
    counted, free = pipeline.put(ROWS, uses=3), pipeline.put(ROWS)

    assert shares(encoded(counted, [free])) == [counted.key]


def test_a_signature_is_a_member_of_its_own(claimcheck):
    """What the tasks of callbacks, or of signatures among the arguments, will name counts with them."""
    rows = pipeline.shared(ROWS, uses=2)
    link = Task().s(rows)
    body = encoded(1, Task().s(rows), embed={**NO_LINKS, "callbacks": [link]})

    assert shares(body) == []
    with running(body) as (args, _):
        assert args[1]["args"] == (rows,) or args[1]["args"] == [rows]


def test_other_serializers_get_an_error(claimcheck):
    """Nobody would count the use, so a shared value in JSON is an error for the publisher."""
    rows = pipeline.shared(ROWS, uses=1)

    with pytest.raises(EncodeError, match="is no argument of a task in the serializer claimcheck"):
        dumps([rows], "json")
    assert json.loads(json.dumps(pipeline.put(ROWS, uses=1).as_dict()))["uses"] == 1


def test_a_retry_names_the_shared_payload_again(claimcheck, store, notes):
    """Its arguments are the values; those that are unchanged are shared again, and its attempt is no end."""
    rows = pipeline.shared(ROWS, uses=1)
    with running(encoded(rows, 1)) as (args, kwargs):
        again = encoded(*args, **kwargs)

        assert shares(again) == [rows.handle.key]
        assert notes.holds(mark_of(rows.handle.key))
    with running(again) as (args, _):
        assert list(args) == [ROWS, 1]


def test_a_retry_with_a_changed_value_has_its_own(claimcheck, notes):
    """A value that its task has changed in place travels in the retry, and the attempt ends its use."""
    rows = pipeline.shared([1, 2], uses=1)
    with running(encoded(rows)) as (args, _):
        args[0].append(3)
        again = encoded(*args)

        assert shares(again) == []
        assert not notes.holds(mark_of(rows.handle.key))
    with running(again) as (args, _):
        assert list(args) == [[1, 2, 3]]


def test_a_chain_that_replaces_a_task_goes_on_with_it(claimcheck, notes):
    """Its last task has the id of the replaced one: if that names the payload, nothing has ended."""
    rows = pipeline.shared(ROWS, uses=1)
    last = Task().s(rows).set(task_id="id")
    with running(encoded(rows)) as (args, _):
        list(args)
        encoded("first", task_id="other", embed={**NO_LINKS, "chain": [last]})

        assert notes.holds(mark_of(rows.handle.key))


def test_another_task_is_another_member(claimcheck, notes):
    """A task that passes the value on sends the value, and its own use ends."""
    rows = pipeline.shared([1], uses=1)
    with running(encoded(rows)) as (args, _):
        body = encoded(*args, task_id="other")

        assert shares(body) == []
        assert not notes.holds(mark_of(rows.handle.key))


def test_a_retry_is_not_sent_if_main_cannot_know(claimcheck, monkeypatch):
    """If the main process would count the end of the attempt, the retry is an error for its attempt."""
    rows = pipeline.shared(ROWS, uses=1)
    monkeypatch.setattr(payload, "reuses", child_pipe.Reuses())
    with running(encoded(rows)) as (args, _), pytest.raises(StoreUnavailableError, match="takes no notes"):
        encoded(*args)


def test_too_few_uses_are_explained(claimcheck, store):
    """A task that comes after the payload was deleted is rejected, and the error names uses."""
    rows = pipeline.shared(ROWS, uses=1)
    body = encoded(rows)
    ledger.mark(claimcheck, {rows.handle.key: [ledger.member("other")]})
    with running(body) as (args, _), pytest.raises(Reject) as caught:
        list(args)

    assert isinstance(caught.value.reason, PayloadMissingError)
    assert "all of its uses=1 have ended" in str(caught.value.reason)
    assert not caught.value.requeue


@pytest.mark.parametrize("make", [pipeline.shared, pipeline.put], ids=["value", "handle"])
@pytest.mark.parametrize(
    "place", [lambda value: value, lambda value: {"in": [(1, value)]}], ids=["alone", "inside"]
)
def test_an_eta_beyond_its_class_is_an_error(claimcheck, make, place):
    """A task that may run only after the TTL class has ended is not published; one on the last day is."""
    value = place(make(ROWS, uses=1, ttl_days=7))
    encoded(value, wait_seconds=7 * 86_400)

    with pytest.raises(PayloadExpiresError, match=r"payload would expire .*its ttl_days end on \d{4}-"):
        encoded(value, wait_seconds=8 * 86_400)


def test_nothing_is_known_of_the_life_of_others_objects(others):
    """A handle of a further store may be sent with any ETA: its owner knows how long it lives."""
    encoded(pipeline.Handle(store="uploads", key="input/a"), wait_seconds=500 * 86_400)


def test_a_read_is_measured(claimcheck, recorder, sink):
    """A shared value is stored and read as a payload is: with the metrics of its task."""
    serializer.install(replace(claimcheck, recorder=recorder))
    rows = pipeline.shared(ROWS, uses=1)
    with running(encoded(rows)) as (args, _):
        list(args)
    recorder.flush()

    size_bytes = rows.handle.size_bytes
    assert sink.total(metrics.HANDLE_STORED_BYTES) == sink.total(metrics.HANDLE_READ_BYTES) == size_bytes
    assert sink.total(metrics.PAYLOADS_OFFLOADED) == sink.count(metrics.UPLOAD_SECONDS) == 1
    assert [each.task for each in sink.series if each.metric is metrics.REHYDRATE_SECONDS] == ["t"]
    assert sink.count(metrics.DECODE_SECONDS) == 2


def test_it_lives_as_long_as_payloads_do(claimcheck):
    """The TTL class is the first that is no shorter than payload_ttl_seconds, or what was asked for."""
    default, chosen = pipeline.shared(1, uses=1), pipeline.shared(1, uses=1, ttl_days=7)

    assert ttl_days_of(default.handle.key, "claims") == 90
    assert ttl_days_of(chosen.handle.key, "claims") == 7


def test_its_owner_may_end_it(claimcheck, store):
    """``handle.delete()`` deletes payload and ledger: tasks that were never sent end nothing."""
    pipeline.shared(ROWS, uses=5).handle.delete()

    assert list(store.list()) == []


def test_a_message_names_a_hundred_at_most(claimcheck):
    """More are an error for the publisher: each costs its worker two requests."""
    many = [pipeline.shared(number, uses=1) for number in range(101)]

    with pytest.raises(PayloadEncodeError, match="101 shared payloads"):
        encoded(many)

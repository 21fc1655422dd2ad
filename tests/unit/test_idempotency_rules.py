"""Idempotency without a worker: what the decorator accepts, how calls are told apart, what a record holds."""

import logging
import pickle
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import wraps

import pytest
from celery import Celery
from celery._state import _task_stack
from celery.exceptions import Ignore, Reject

from pipeline import idempotent
from pipeline.admin import sweep
from pipeline.admin.sweep import Swept
from pipeline.claimcheck import signed_record
from pipeline.claimcheck.signed_record import Record, record_key
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    StoreDeniedError,
    StoreUnavailableError,
    TaskInProgressError,
)
from pipeline.idempotency import decorator, execution
from pipeline.idempotency.decorator import GivenBack
from pipeline.idempotency.execution import Attempt
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.stores.records import records_of

KEY = record_key("claims", "charge", '"one"')
DAY = timedelta(days=1)


@pytest.fixture
def store():
    return MemoryStore("claims")


@pytest.fixture
def options():
    return {"store_retry_seconds": 0.01}


@pytest.fixture
def app():
    made = Celery("app", broker="memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    """Wait for nobody."""
    monkeypatch.setattr(execution, "IN_PROGRESS_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(execution, "POLL_SECONDS", 0.001)


@contextmanager
def delivered(task, task_id="one", **context):
    """Be a worker that runs a message of this task."""
    _task_stack.push(task)
    task.push_request(id=task_id, called_directly=False, **context)
    try:
        yield
    finally:
        task.pop_request()
        _task_stack.pop()


def attempt_of(claimcheck, in_progress=DAY):
    records = records_of(claimcheck.store)
    return Attempt(
        claimcheck=claimcheck, records=records, key=KEY, in_progress=in_progress, keep=DAY, log_fields={}
    )


def counting(app, **settings):
    """Return a task that counts its runs, and the list that it counts in."""
    runs = []

    @app.task(shared=False)
    @idempotent(**settings)
    def charge(order=1, price=2):
        runs.append(order)
        return len(runs)

    return charge, runs


def test_a_second_delivery_runs_nothing(app, claimcheck):
    """A delivery with the same id returns the first one's result, and one with another id runs."""
    charge, runs = counting(app)
    results = []
    for task_id in ("one", "one", "two", "one"):
        with delivered(charge, task_id):
            results.append(charge.run())

    assert results == [1, 1, 2, 1]
    assert len(runs) == 2


def test_both_forms_of_the_decorator_keep_the_function(app):
    """With and without parentheses, name, text and signature stay, and Celery checks arguments by them."""

    @idempotent
    def bare(order):
        """Say what it does."""

    called = app.task(shared=False)(idempotent()(bare))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'order'"):
        called.delay()

    assert (bare.__name__, bare.__doc__, called.name) == ("bare", "Say what it does.", f"{__name__}.bare")


def test_without_a_message_it_is_a_function(app):
    """Called directly, eagerly or by other code in a task, it runs each time, and needs no store."""
    charge, runs = counting(app)

    @app.task(shared=False)
    def other():
        charge.run()

    charge()
    charge.run()
    charge.apply(task_id="one")
    charge.apply(task_id="one")
    with delivered(other):
        other.run()
        charge()

    assert len(runs) == 6


def test_a_wrapped_task_is_still_the_task(app, claimcheck):
    """Retries, binding and other decorators around it do not hide that the task runs its own function."""
    runs = []

    def own(function):
        @wraps(function)
        def wrapped(*args):
            return function(*args)

        return wrapped

    @app.task(bind=True, shared=False, autoretry_for=(ValueError,))
    @own
    @idempotent
    def charge(self, order=1):
        runs.append(order)

    for _ in range(2):
        with delivered(charge):
            charge.run()

    assert runs == [1]


def test_a_parameter_is_the_key_however_it_is_passed(app, claimcheck):
    """A named parameter is the key, as a position, by its name or by its default."""
    charge, runs = counting(app, key="order")
    for task_id, args, kwargs in [("1", (7,), {}), ("2", (), {"order": 7}), ("3", (1,), {}), ("4", (), {})]:
        with delivered(charge, task_id):
            charge.run(*args, **kwargs)

    assert runs == [7, 1]


@pytest.mark.parametrize("value", [None, "", 1j, object()])
def test_a_key_must_be_told(app, claimcheck, value):
    """No call runs whose key is empty or cannot be written, and the error does not show it."""
    charge, runs = counting(app, key=lambda **_: value)

    with delivered(charge), pytest.raises(ValueError, match="the key of this call of"):
        charge.run()
    assert runs == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({1: 2}, {"1": 2}),
        ({1, 2}, [1, 2]),
        ({"a"}, frozenset("a")),
        ({(1, 2): 3}, {(2, 1): 3}),
        ({1: 2}, [[1, 2]]),
    ],
)
def test_calls_that_differ_are_told_apart(app, claimcheck, one, other):
    """Values that differ in their type alone are two calls; the same value in another order is one."""
    charge, runs = counting(app, key="order")
    for task_id, value in enumerate((one, other, one, other)):
        with delivered(charge, str(task_id)):
            charge.run(value)

    assert len(runs) == 2


def test_keys_of_two_tasks_differ(store):
    """A key counts within its task, and neither name nor key can be moved over to the other."""
    keys = {record_key("p", "a", "bc"), record_key("p", "ab", "c"), record_key("", "a", "bc")}

    assert len(keys) == 3
    assert all(len(key.rpartition("once/v1/")[2]) == 40 for key in keys)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"key": "nobody"}, r"key='nobody'.*charge has no such parameter"),
        ({"in_progress_seconds": 0}, "0 seconds; expected more than 0"),
        ({"keep_seconds": -1}, "-1 seconds; expected more than 0"),
    ],
)
def test_wrong_settings_are_refused_at_once(app, settings, text):
    """What cannot work is refused when the module is imported."""
    with pytest.raises(ValueError, match=text):
        counting(app, **settings)


def test_the_wrong_order_is_refused(app):
    """Above the task decorator it would guard the sending, not the run."""
    charge, _ = counting(app)

    with pytest.raises(ValueError, match="above the task decorator"):
        idempotent(charge)


def test_a_store_without_records_is_refused(app, claimcheck):
    """A store that cannot write on condition is refused by name, and nothing runs."""
    charge, runs = counting(app)
    object.__setattr__(claimcheck, "store", object())

    with delivered(charge), pytest.raises(ValueError, match=r"object has no records\(\)"):
        charge.run()
    assert runs == []


def test_without_install_nothing_runs(app):
    """In a worker that has no store the task fails, and says what is missing."""
    charge, runs = counting(app)
    serializer.install(None)

    with delivered(charge), pytest.raises(ClaimError, match=r"pipeline\.install"):
        charge.run()
    assert runs == []


@pytest.mark.parametrize(
    ("context", "task_limit", "app_limit", "expected"),
    [
        ({}, None, None, 43_200),
        ({}, None, 900, 960),
        ({}, 100, 900, 160),
        ({"timelimit": [10, 5]}, 100, 900, 70),
        ({"timelimit": [None, 5]}, None, None, 43_200),
    ],
)
def test_the_time_in_progress_follows_the_hard_limit(app, context, task_limit, app_limit, expected):
    """A run counts as dead a minute after it must have been killed, or after twelve hours."""
    charge, _ = counting(app)
    charge.time_limit, app.conf.task_time_limit = task_limit, app_limit

    with delivered(charge, **context):
        assert decorator._longest_run_seconds(charge) == expected


def test_a_call_in_progress_is_given_back(app, claimcheck):
    """A delivery that finds another at work is rejected towards the queue, and says until when."""
    caught = []

    @app.task(shared=False)
    @idempotent(in_progress_seconds=100)
    def twice(order):
        with pytest.raises(GivenBack) as second:
            twice.run(order)
        caught.append(second.value)

    with delivered(twice):
        twice.run(1)
    [given_back] = pickle.loads(pickle.dumps(caught))

    assert isinstance(given_back, Reject)
    assert isinstance(given_back, Ignore)
    assert given_back.requeue is True
    assert isinstance(given_back.reason, TaskInProgressError)
    assert 90 < given_back.reason.free_in_seconds <= 100


def test_an_expired_run_is_taken_over(claimcheck):
    """A run that must have ended is free for the next, and ends without a trace if it did not."""
    slow, fast = attempt_of(claimcheck, timedelta()), attempt_of(claimcheck)

    assert slow.begin() is None
    assert fast.begin() is None
    fast.finish(claimcheck.seal("fast"))
    slow.finish(claimcheck.seal("slow"))
    slow.abandon()
    assert claimcheck.rehydrate(attempt_of(claimcheck).begin()) == "fast"


def test_a_result_counts_until_it_expires(claimcheck):
    """A result that is older than it is kept for is free, and the call runs again."""
    first = attempt_of(claimcheck)
    first.keep = timedelta()
    first.begin()
    first.finish(claimcheck.seal("old"))

    assert attempt_of(claimcheck).begin() is None


def test_results_are_kept_no_longer_than_payloads(app, claimcheck):
    """The lifecycle rule removes a record with the payloads, so a longer time is cut to that."""
    charge, _ = counting(app, keep_seconds=10**9)
    with delivered(charge):
        charge.run()
    records = claimcheck.store.records()
    [found] = claimcheck.store.list()
    kept = signed_record.read(records.read(found.key)[0], found.key)

    assert kept.expires < datetime.now(UTC) + timedelta(days=35, minutes=1)


def test_one_of_many_begins(claimcheck):
    """Of many deliveries at once, one begins and the others are told."""
    barrier, begun, busy = threading.Barrier(8), [], []

    def work():
        one = attempt_of(claimcheck)
        barrier.wait()
        try:
            begun.append(one.begin())
        except TaskInProgressError as exc:
            busy.append(exc)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (begun, len(busy)) == ([None], 7)


class Broken(MemoryStore):
    """A store whose records fail from the second write on."""

    __slots__ = ("error", "writes")

    def __init__(self, error):
        super().__init__("claims")
        object.__setattr__(self, "error", error)
        object.__setattr__(self, "writes", [])

    def records(self):
        return self

    def read(self, key):
        return super().records().read(key)

    def write(self, key, content, tag):
        self.writes.append(key)
        if len(self.writes) > 1:
            raise self.error
        return super().records().write(key, content, tag)

    def remove(self, key, tag):
        raise self.error


class Deaf(MemoryStore):
    """A store that writes, and whose answer gets lost: what is sent again is refused."""

    __slots__ = ()

    def records(self):
        return self

    def read(self, key):
        return super().records().read(key)

    def write(self, key, content, tag):
        super().records().write(key, content, tag)


def test_a_lost_answer_is_found_in_the_record(claimcheck, monkeypatch, caplog):
    """Whoever is refused its own record's place reads it, finds its own name, and goes on."""
    monkeypatch.setattr(execution, "IN_PROGRESS_WAIT_SECONDS", 30.0)
    object.__setattr__(claimcheck, "store", Deaf("claims"))
    one = attempt_of(claimcheck)

    assert one.begin() is None
    one.finish(claimcheck.seal("result"))
    assert claimcheck.rehydrate(attempt_of(claimcheck).begin()) == "result"
    assert "took over" not in caplog.text


def test_who_waits_gets_the_result(claimcheck, monkeypatch):
    """A delivery that finds another at work has its result as soon as that one ends."""
    monkeypatch.setattr(execution, "IN_PROGRESS_WAIT_SECONDS", 30.0)
    first, second = attempt_of(claimcheck), attempt_of(claimcheck)
    first.begin()
    ending = threading.Timer(0.1, lambda: first.finish(claimcheck.seal("result")))
    ending.start()

    assert claimcheck.rehydrate(second.begin()) == "result"
    ending.join()


@pytest.mark.parametrize("error", [ValueError("no"), Ignore("never mind"), KeyboardInterrupt()])
def test_whatever_is_raised_lets_it_run_again(app, claimcheck, error):
    """A call that raises leaves no record, whatever it raises, and the error stays what it is."""
    runs = []

    @app.task(shared=False)
    @idempotent
    def charge():
        runs.append(1)
        raise error

    for _ in range(2):
        with delivered(charge), pytest.raises(type(error)) as caught:
            charge.run()
        assert caught.value is error

    assert len(runs) == 2
    assert list(claimcheck.store.list()) == []


class Slow(MemoryStore):
    """A store whose records take so long to read that the time is up, and that goes on all the same."""

    __slots__ = ("limit",)

    def records(self):
        return self

    def read(self, key):
        with suppress(Exception):
            self.limit()
        return super().records().read(key)

    def write(self, key, content, tag):
        return super().records().write(key, content, tag)

    def remove(self, key, tag):
        super().records().remove(key, tag)


def test_a_call_out_of_time_before_it_begins_is_given_back(app, claimcheck, limit_comes):
    """A soft time limit that comes while the record is read is not lost: the message comes again."""
    charge, runs = counting(app)
    object.__setattr__(claimcheck, "store", Slow("claims"))
    object.__setattr__(claimcheck.store, "limit", limit_comes)
    with delivered(charge), pytest.raises(GivenBack, match="soft time limit came first") as caught:
        charge.run()

    assert caught.value.requeue
    assert runs == []


def test_a_kept_result_outlives_a_time_limit(app, claimcheck, slow):
    """A soft time limit that comes while a kept result is decoded is no corruption of it, and it stays."""
    runs = []

    @app.task(shared=False)
    @idempotent
    def charge():
        runs.append(1)
        return slow

    with delivered(charge):
        charge.run()
        with pytest.raises(GivenBack, match="soft time limit came first") as caught:
            charge.run()

    assert caught.value.requeue
    assert (len(runs), len(list(claimcheck.store.list()))) == (1, 1)


@pytest.mark.parametrize("error", [StoreDeniedError("no"), StoreUnavailableError("later")])
def test_what_has_run_is_not_failed_by_its_record(claimcheck, error, caplog):
    """A store that fails after the effect costs the record, never the result or the task's own error."""
    object.__setattr__(claimcheck, "store", Broken(error))
    one = attempt_of(claimcheck)
    one.begin()
    with caplog.at_level(logging.WARNING):
        one.finish(claimcheck.seal("result"))
        one.abandon()

    ours = [record.message for record in caplog.records if record.name == "pipeline.idempotency.execution"]
    assert [text.partition(",")[0] for text in ours] == ["result not kept", "record not removed"]


@pytest.mark.parametrize("signing_key", [None, b"0123456789abcdef"])
def test_a_record_belongs_to_its_key(claimcheck, signing_key):
    """A record that was damaged, copied to another key or signed by somebody else is refused."""
    record = Record(owner="me", expires=datetime.now(UTC), result=claimcheck.seal({"a": 1}))
    content = signed_record.write(record, KEY, signing_key)

    assert signed_record.read(content, KEY, signing_key) == record
    for wrong, key, secret in [
        (content[:-1] + bytes([content[-1] ^ 1]), KEY, signing_key),
        (b"", KEY, signing_key),
        (b"[1, 2]", KEY, signing_key),
        (content, record_key("claims", "charge", '"two"'), signing_key),
        (content, KEY, b"another key of ours"),
    ]:
        with pytest.raises(PayloadCorruptError, match="record corrupt"):
            signed_record.read(wrong, key, secret)


def test_a_place_is_the_same_in_every_release():
    """A record that one release wrote is found by the next, and its place holds no text of the call."""
    key = record_key("claims", "shop.charge", '"one"')

    assert key == "claims/once/v1/f8e8c474c00dd1d7c2537057faec5dc9934a94c7"


def test_the_sweep_leaves_records_alone(claimcheck):
    """However old, a record is no orphan: the sweep counts it as foreign, and goes on."""
    attempt_of(claimcheck).begin()
    swept = Swept()

    assert list(sweep.orphans(claimcheck.store, sweep.Ages(timedelta(0), timedelta(0)), set(), swept)) == []
    assert (swept.objects, swept.foreign, swept.orphans) == (1, 1, 0)

"""The decorator ``idempotent`` without a worker: what it accepts, which calls are one, when a call runs."""

import pickle
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import wraps

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject
from idempotent_calls import counting, delivered

from pipeline import idempotent
from pipeline.claimcheck import signed_record
from pipeline.errors import (
    ClaimError,
    TaskInProgressError,
)
from pipeline.idempotency import decorator
from pipeline.idempotency.decorator import GivenBack
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore

pytestmark = pytest.mark.usefixtures("no_wait")


@pytest.fixture
def app():
    made = Celery("app", broker="memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture
def store():
    return MemoryStore("claims")


@pytest.fixture
def options():
    return {"store_retry_seconds": 0.01}


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


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"key": "nobody"}, r"key='nobody'.*charge has no such parameter"),
        ({"in_progress_seconds": 0}, "0 seconds; expected more than 0"),
        ({"keep_seconds": -1}, "-1 seconds; expected more than 0"),
    ],
)
def test_wrong_settings_raise_at_once(app, settings, text):
    """Settings that cannot work raise ValueError when the module is imported."""
    with pytest.raises(ValueError, match=text):
        counting(app, **settings)


def test_the_wrong_order_raises(app):
    """Above the task decorator it would guard the sending, not the run."""
    charge, _ = counting(app)

    with pytest.raises(ValueError, match="above the task decorator"):
        idempotent(charge)


def test_a_store_without_records_raises(app, claimcheck):
    """A store without conditional writes raises ValueError that names it, and nothing runs."""
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


def test_results_are_kept_no_longer_than_payloads(app, claimcheck):
    """The lifecycle rule removes a record with the payloads, so a longer time is cut to that."""
    charge, _ = counting(app, keep_seconds=10**9)
    with delivered(charge):
        charge.run()
    records = claimcheck.store.records()
    [found] = claimcheck.store.list()
    kept = signed_record.read(records.read(found.key)[0], found.key)

    assert kept.expires < datetime.now(UTC) + timedelta(days=35, minutes=1)


@pytest.mark.parametrize("error", [ValueError("no"), Ignore("never mind"), KeyboardInterrupt()])
def test_a_call_that_raises_may_run_again(app, claimcheck, error):
    """A call that raises leaves no record, and its error is raised unchanged."""
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

"""Where a shared value may be: what no task would get is an error for its publisher."""

from functools import partial

import pytest
from celery import Celery, chain, chord, group
from kombu.exceptions import EncodeError

import pipeline
from pipeline.errors import PayloadEncodeError
from pipeline.installation import uninstall

ROWS = [1, 2]


@pytest.fixture
def app():
    app = Celery("shared", broker="memory://", backend="cache+memory://", set_as_current=False)
    pipeline.install(app, "memory://shared-places")
    yield app
    app.close()
    uninstall()


@pytest.fixture
def add(app):
    @app.task(name="add", shared=False)
    def add(*args, **kwargs):
        return [args, kwargs]

    return add


@pytest.fixture
def rows(app):
    return pipeline.shared(ROWS, uses=5)


def canvases(add, errback):
    failing = add.s(1).on_error(errback)
    return {
        "task": failing,
        "callback": add.s(1, link=add.s()).set(link=failing.clone()),
        "chain": chain(add.s(0), add.s(1), failing),
        "group": group(add.s(0), add.s(1)).on_error(errback),
        "chord": chord([add.s(0)], failing),
        "in a chain": chain(add.s(0), group(failing, add.s(2)), add.s(3)),
    }


@pytest.mark.parametrize("name", ["task", "callback", "chain", "group", "chord", "in a chain"])
def test_an_errback_has_no_shared_value(add, rows, name):
    """Celery calls it without a message: the publisher gets an error, also for tasks that come later."""
    with pytest.raises(TypeError, match=r"an errback of task add names a shared value"):
        canvases(add, add.s(rows))[name].apply_async()

    assert canvases(add, add.s(rows.handle))[name].apply_async()


@pytest.mark.parametrize("hidden", [lambda it: {it: 1}, lambda it: {(1, it): 1}, lambda it: [{it}]])
def test_a_value_has_no_place_in_a_key_or_set(add, rows, hidden):
    """What has no hash cannot be there, so the task would get something else, and nobody would count it."""
    with pytest.raises(EncodeError, match="it is a key of a dict, or in a set"):
        add.delay(hidden(rows))

    assert add.delay(hidden(rows.handle))


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_another_serializer_is_an_error(add, rows, serializer):
    """Only this library's messages say what they share."""
    with pytest.raises(
        (TypeError, EncodeError), match="is no argument of a task in the serializer claimcheck"
    ):
        add.apply_async(([rows],), serializer=serializer)

    assert add.apply_async((ROWS,), serializer=serializer)


@pytest.mark.parametrize("store", [pipeline.put, partial(pipeline.shared, uses=1)], ids=["put", "shared"])
def test_a_value_has_no_place_in_another_payload(rows, store):
    """Nobody reads what is inside of a payload, so it is an error of whoever stores it."""
    with pytest.raises(PayloadEncodeError, match="its encoder declined it; what pipeline"):
        store([rows])


def test_an_eager_task_gets_the_value(app, add, rows):
    """With ``task_always_eager``, the task runs in place and gets the value, at any depth."""
    app.conf.task_always_eager = True

    assert add.delay(rows, a=[rows]).get() == [(ROWS,), {"a": [ROWS]}]

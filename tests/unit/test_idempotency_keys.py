"""Which calls of an idempotent task are the same call."""

import pytest
from celery import Celery
from idempotent_calls import counting, delivered

from pipeline.stores.memory import MemoryStore


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


def test_a_parameter_is_the_key_however_it_is_passed(app, claimcheck):
    """A named parameter is the key, as a position, by its name or by its default."""
    charge, runs = counting(app, key="order")
    for task_id, args, kwargs in [("1", (7,), {}), ("2", (), {"order": 7}), ("3", (1,), {}), ("4", (), {})]:
        with delivered(charge, task_id):
            charge.run(*args, **kwargs)

    assert runs == [7, 1]


@pytest.mark.parametrize("value", [None, "", 1j, object()])
def test_a_key_is_required(app, claimcheck, value):
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
def test_calls_that_differ_are_distinguished(app, claimcheck, one, other):
    """Values that differ in their type alone are two calls; the same value in another order is one."""
    charge, runs = counting(app, key="order")
    for task_id, value in enumerate((one, other, one, other)):
        with delivered(charge, str(task_id)):
            charge.run(value)

    assert len(runs) == 2

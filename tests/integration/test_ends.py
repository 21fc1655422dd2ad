"""The ends of a payload that need a worker of their own kind, or none."""

import pytest
from celery import chord
from celery.exceptions import ChordError, TimeLimitExceeded
from kombu.exceptions import EncodeError

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]


def test_a_hard_time_limit_releases(shop):
    """A task killed by its hard time limit is a recorded failure: the payload goes."""
    shop.worker(pool="prefork")
    with pytest.raises(TimeLimitExceeded):
        shop.overtime.delay(ROWS).get(timeout=30)

    shop.eventually_empty()


def test_a_lost_worker_runs_the_task_again(shop):
    """A child killed in the middle of a task keeps message and payload, and the task runs again."""
    shop.worker(pool="prefork")

    assert shop.suicide.delay(ROWS).get(timeout=60) == len(ROWS)
    assert shop.notes() == ["dying", "dying"]
    shop.eventually_empty()


def test_an_unserialisable_argument_is_named(shop):
    """The caller gets one error with the argument's path and type, and nothing is sent or stored."""
    with pytest.raises(EncodeError, match=r"path=\[0\]\[0\]\['rows'\]\[1\], type=builtins.set"):
        shop.digest.delay({"rows": [1, {2}]})

    assert shop.objects() == []


def test_errors_of_a_chord_reach_its_caller(shop):
    """A failing header fails the chord, with every argument in the store."""
    shop.worker(pool="prefork")
    with pytest.raises((ChordError, ValueError)):
        chord([shop.add.s(1), shop.fail.s(2)], shop.total.s()).apply_async().get(timeout=30)

    shop.eventually_empty()

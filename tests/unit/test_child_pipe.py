"""What a child process notes, and how its parent knows."""

import os
from contextlib import suppress

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from greenlet import GreenletExit
from programs import printed_by

from pipeline.deferred import child_pipe

MARK = child_pipe.mark("id", 0, "claims/v1/0a/2026/01/01/0")


def test_notes_cross_a_fork(reuses):
    """What a child notes before it dies is known to its parent, at once and from then on."""
    child = os.fork()
    if not child:
        os._exit(0 if reuses.note(MARK) else 1)
    os.waitpid(child, 0)

    assert reuses.holds(MARK)
    assert reuses.holds(MARK)
    assert not reuses.holds(child_pipe.mark("id", 1, "key"))


def test_a_note_may_be_withdrawn(reuses):
    """A retry that was not sent leaves the payload to its attempt, whether that has ended or not."""
    reuses.note(MARK)
    reuses.withdraw(MARK)
    before = reuses.holds(MARK)
    reuses.note(MARK)
    ended = reuses.holds(MARK)
    reuses.withdraw(MARK)

    assert (before, ended, reuses.holds(MARK)) == (False, True, False)


def test_a_full_pipe_takes_no_note(reuses):
    """A full pipe does not block a task: its retry has a payload of its own."""
    marks = (child_pipe.mark("id", attempt, "key") for attempt in range(100_000))
    noted = [mark for mark in marks if reuses.note(mark)]

    assert 1_000 < len(noted) < 100_000
    assert all(map(reuses.holds, noted))
    assert reuses.note(MARK)


def test_only_attempts_that_have_ended_are_forgotten(reuses, monkeypatch):
    """Memory is bounded, and never at the expense of an attempt that still runs."""
    monkeypatch.setattr(child_pipe, "REMEMBERED", 2)
    marks = [child_pipe.mark("id", attempt, "key") for attempt in range(4)]
    for mark in (MARK, *marks):
        reuses.note(mark)
    for mark in marks:
        assert reuses.holds(mark)

    assert [reuses.holds(mark) for mark in marks] == [False, False, True, True]
    assert reuses.holds(MARK)


def test_a_child_that_waits_is_known_to_wait(reuses):
    """Main knows of a child that dies while it waits for the store, and of one that has gone on, however."""
    child = os.fork()
    if not child:
        with suppress(KeyError), reuses.waiting("gone on"):
            raise KeyError
        with reuses.waiting("killed"):
            os._exit(0)
    os.waitpid(child, 0)

    assert reuses.is_waiting("killed")
    assert not reuses.is_waiting("gone on")
    assert not reuses.is_waiting("unknown")


@pytest.mark.parametrize(("error", "goes_on"), [(SoftTimeLimitExceeded, True), (GreenletExit, False)])
def test_what_kills_a_wait_does_not_end_it(reuses, error, goes_on):
    """A task goes on after a soft time limit; one whose greenlet is killed while it waits never has begun."""
    with suppress(error), reuses.waiting("id"):
        raise error

    assert reuses.is_waiting("id") is not goes_on


def test_opening_twice_keeps_what_was_noted(reuses):
    """A second worker in the same process goes on with the same notes."""
    reuses.note(MARK)
    reuses.open()

    assert reuses.holds(MARK)


def test_nothing_waits_for_the_pipe_under_eventlet():
    """Under eventlet too, an empty pipe holds nothing new, and a full one takes no note."""
    printed = printed_by(
        """
        import eventlet

        eventlet.monkey_patch()
        from pipeline.deferred.child_pipe import MARK_BYTES, Reuses

        reuses, mark = Reuses(), bytes(MARK_BYTES)
        reuses.open()
        with eventlet.Timeout(20):
            print(reuses.holds(mark))
            while reuses.note(mark):
                pass
            print(reuses.holds(mark), reuses.note(mark))
        """
    )

    assert printed.split() == ["False", "True", "True"]

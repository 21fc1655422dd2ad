"""How long a payload took to come back from the store is said only of one that did."""

import pytest

from pipeline.claimcheck.claim import Message
from pipeline.deferred.payload import Deferred, Received
from pipeline.errors import PayloadMissingError


@pytest.fixture
def deferred(claimcheck):
    """Return a function that defers a payload."""

    def of(payload):
        return Deferred(Received(claimcheck, Message(shape="task", payload=payload), {}), (int, ()))

    return of


@pytest.fixture
def claim(claimcheck):
    """The claim of a payload that is in the store."""
    return claimcheck.offload(claimcheck.seal([[1], {}, []])).claim


def test_a_payload_that_was_read(deferred, claim):
    """A payload from the store has a time."""
    one = deferred(claim)
    one.load()

    assert one.rehydrated_in == one.seconds > 0


def test_an_unread_payload(deferred, claim):
    """A task may end before its arguments are looked at."""
    assert deferred(claim).rehydrated_in is None


def test_a_payload_that_could_not_be_read(deferred, claim, store):
    """A read that failed took time, and brought nothing back."""
    store.delete([claim.key])
    one = deferred(claim)
    with pytest.raises(PayloadMissingError):
        one.load()

    assert one.seconds > 0
    assert one.rehydrated_in is None


def test_a_body_that_travelled_inline(deferred, claimcheck):
    """What never was in the store does not come back from it."""
    one = deferred(claimcheck.seal([[1], {}, []]))
    one.load()

    assert one.rehydrated_in is None

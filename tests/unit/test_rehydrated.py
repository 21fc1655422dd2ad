"""How long a payload took to come back from the store is said only of one that did."""

import pytest

from pipeline.deferred.deferred import Deferred
from pipeline.errors import PayloadMissingError


def deferred(payload, error=None):
    def read():
        if error:
            raise error
        return [1], {}

    return Deferred(read, (int, ()), payload)


@pytest.fixture
def claim(claimcheck):
    """The claim of a payload that lies in the store."""
    return claimcheck.offload(claimcheck.seal([[1], {}, []])).claim


def test_a_payload_that_was_read(claim):
    """A payload from the store has a time."""
    one = deferred(claim)
    one.load()

    assert one.rehydrated_in == one.seconds > 0


def test_a_payload_that_nobody_looked_at(claim):
    """A task may end before its arguments are looked at."""
    assert deferred(claim).rehydrated_in is None


def test_a_payload_that_could_not_be_read(claim):
    """A read that failed took time, and brought nothing back."""
    one = deferred(claim, PayloadMissingError("payload missing"))
    with pytest.raises(PayloadMissingError):
        one.load()

    assert one.seconds > 0
    assert one.rehydrated_in is None


def test_a_body_that_travelled_inline(claimcheck):
    """What never was in the store does not come back from it."""
    one = deferred(claimcheck.seal([[1], {}, []]))
    one.load()

    assert one.rehydrated_in is None

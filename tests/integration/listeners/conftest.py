"""What the tests of listeners share."""

import math

import pytest
from listening import opened

from pipeline.transport.fanout import events, warn_once


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Take a new queue for one that is there, and let no test know what another has received or warned of."""
    monkeypatch.setattr(events.Audience, "_called", -math.inf)
    monkeypatch.setattr(warn_once, "_logged", set())
    monkeypatch.setattr("pipeline.transport.fanout.replies.NEW_QUEUE_SECONDS", 0)


@pytest.fixture
def connection(aws, proxy):
    with opened() as connection:
        yield connection

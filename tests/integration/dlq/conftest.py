"""What the tests of ``pipeline dlq`` share."""

import pytest
from dead_letters import Letters

from pipeline.admin import received_messages


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Ask without waiting: a stand-in has one server."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)


@pytest.fixture
def letters(sample, moto_aws):
    """The sample's queues."""
    return Letters(sample, moto_aws)

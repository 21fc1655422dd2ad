"""What the tests of ``pipeline dlq`` share."""

import pytest
from dead_letters import DeadLetterQueue

from pipeline.admin import received_messages


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Receive without long polls: a stand-in has one server."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)


@pytest.fixture
def dead_letters(sample, moto_aws):
    """The sample's queues."""
    return DeadLetterQueue(sample, moto_aws)

"""What the tests of batched publishing share."""

import pytest
from batch_calls import ONCE

from pipeline.transport.send import lingering


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Never send a batch by time, so that the number of calls is deterministic."""
    monkeypatch.setattr(lingering, "SECONDS", 3_600)
    monkeypatch.setattr(lingering, "PACK_SECONDS", 3_600)


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample where every argument goes through the store, and whose every call is recorded."""
    options = {"visibility_timeout": 30, "wait_time_seconds": 1, "client-config": ONCE}
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims", options={"threshold_bytes": 0, "upload_threads_count": 0},
        conf={"broker_transport_options": options},
    )  # fmt: skip


@pytest.fixture
def calls(proxy):
    """Return a function that counts the calls with one message, and those with several."""
    return lambda: (proxy.operations["SendMessage"], proxy.operations["SendMessageBatch"])

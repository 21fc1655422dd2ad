"""How long SQS hides a message before it is delivered."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.transport.delay import delay_seconds
from pipeline.transport.redelivery import redelivery_seconds


def received(count):
    return {"Attributes": {"ApproximateReceiveCount": str(count)}}


@pytest.mark.parametrize(("count", "longest"), [(1, 10), (2, 20), (4, 80), (7, 640), (8, 900), (10_000, 900)])
def test_backoff_grows_with_each_delivery(count, longest):
    """The longest wait doubles with each delivery up to its limit, and the waits are spread below it."""
    waits = [redelivery_seconds(received(count), {}) for _ in range(2_000)]

    assert min(waits) >= 1
    assert longest * 0.9 <= max(waits) <= longest


def test_backoff_is_what_the_options_say():
    """The transport options set floor, step and limit; an unknown count is the first."""
    options = {
        "redelivery_floor_seconds": 0, "redelivery_step_seconds": 0, "redelivery_limit_seconds": 3
    }  # fmt: skip

    assert redelivery_seconds({}, options) == 0
    assert redelivery_seconds(received(9), {**options, "redelivery_step_seconds": 2}) <= 3


@pytest.mark.parametrize(
    ("wait_seconds", "retries", "kept_seconds", "delayed"),
    [
        (None, 0, 0, 0),
        (-5, 0, 0, 0),
        (2.5, 0, 0, 3),
        (3_600, 0, 0, 900),
        (60, 0, 900, 0),
        (3_600, 1, 900, 900),
        (None, 1, 0, 1),
        (None, 2, 900, 1),
        (2.5, 1, 0, 3),
        (60, 1, 900, 1),
    ],
)
def test_the_delay_of_a_message(wait_seconds, retries, kept_seconds, delayed):
    """SQS keeps a task until its ETA, if no worker is to; and a retry for a second at least."""
    now = datetime.now(UTC)
    eta = None if wait_seconds is None else (now + timedelta(seconds=wait_seconds)).isoformat()

    assert delay_seconds({"eta": eta, "retries": retries}, kept_seconds) == delayed

"""What retried tasks are sent with, and how their calls are counted."""

import random
from datetime import UTC, datetime

from pipeline.claimcheck.keys import day_of

NOISE = random.Random(5).randbytes(20_000)
ROWS = [{"id": i, "name": f"row {i}"} for i in range(50)]
CALLS = ("PutObject", "GetObject", "DeleteObjects")
OPTIONS = {"threshold_bytes": 0}
CONF = {
    "broker_transport_options": {
        "visibility_timeout": 30,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
        "redelivery_step_seconds": 1,
    }
}
DENIED = b'{"__type":"AccessDenied","message":"no"}'


def days_ahead(sample):
    """Return how many days ahead of today the days in the keys of the store are."""
    now = datetime.now(UTC)
    return [(day_of(key) - now).days + 1 for key in sample.objects()]

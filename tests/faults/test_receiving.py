"""Whatever goes wrong while a worker receives, it goes on receiving, and ends no task."""

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

OPTIONS = {"visibility_timeout": 30, "wait_time_seconds": 1, "polling_interval": 0}
STUMBLES = """
from celery.signals import worker_ready

from shop import app

@worker_ready.connect
def stumble(sender, **_):  # Celery sends it once in a worker's life
    def lose():
        raise ConnectionResetError("the connection is lost")

    sender.hub.call_later(0.5, lose)
"""
"""A shop in whose event loop a connection error comes up, once."""


@pytest.fixture
def shop(shop_of, moto_aws, proxy):
    """A shop behind a proxy whose workers receive without breaks."""
    return shop_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": OPTIONS},
    )


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_connects_anew_receives(shop, tmp_path, pool):
    """After a connection error in the event loop, tasks that come later run."""
    (tmp_path / "stumbling.py").write_text(STUMBLES)
    shop.environment["PYTHONPATH"] = str(tmp_path)
    worker = shop.worker(pool=pool, app="stumbling")
    eventually(lambda: "the connection is lost" in worker.text())

    assert shop.echo.delay("x").get(timeout=30) == "x"
    shop.eventually_empty()

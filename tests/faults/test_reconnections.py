"""A task that runs while its worker connects anew ends as it would have, whatever its end."""

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

LOSSY = """
import os
import signal
import time

from celery.exceptions import Reject
from celery.signals import worker_ready

from sample_app import NOTES, app, note, task


def has(word):
    return NOTES.exists() and word in NOTES.read_text()


@worker_ready.connect
def stumble(sender, **_):  # Celery sends it once in a worker's life
    def lose():
        if not has("begun"):
            sender.hub.call_later(0.2, lose)
            return
        note("lost")
        raise ConnectionResetError("the connection is lost")

    sender.hub.call_later(0.2, lose)


@task(name="lossy.end")
def end(value, how):
    if has("begun"):
        return "run again"
    note("begun")
    while not has("go on"):
        time.sleep(0.1)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise Reject("not now", requeue=how == "requeue")
"""
"""A sample in whose event loop a connection error comes up, once, while a task runs."""


@pytest.mark.parametrize(
    ("pool", "how"), [("prefork", "kill"), ("threads", "requeue"), ("prefork", "reject")]
)
def test_a_rejection_after_a_lost_connection(sample_of, moto_aws, tmp_path, pool, how):
    """The message goes back by a channel that is closed already, and the worker lives."""
    options = {
        "visibility_timeout": 30,
        "wait_time_seconds": 1,
        "polling_interval": 0,
        "redelivery_step_seconds": 1,
    }
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": options},
    )
    (tmp_path / "lossy.py").write_text(LOSSY)
    sample.environment["PYTHONPATH"] = str(tmp_path)
    worker = sample.worker(pool=pool, app="lossy")
    result = sample.app.send_task("lossy.end", (b"x", how))
    eventually(lambda: "lost" in sample.notes())
    eventually(lambda: worker.text().count("Connected to") > 1)
    sample.note("go on")

    assert how == "reject" or result.get(timeout=20) == "run again"
    eventually(lambda: not sum(moto_aws.depth(sample.queue)))
    assert worker.process.poll() is None
    assert "Unrecoverable" not in worker.text()

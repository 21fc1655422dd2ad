"""Tasks that a worker gets to know after its start: their requests are Celery's own."""

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

LATE = """
from celery.signals import task_received, worker_ready

from sample_app import app, note

@worker_ready.connect
def learn(sender, **_):
    @app.task(name="late")
    def late():
        note("late")

    sender.update_strategies()

    @task_received.connect(weak=False)
    def stumble(request, **_):
        if request.name == "late" and not getattr(app, "stumbled", False):
            app.stumbled = True
            sender.hub.call_later(0.1, lose)

def lose():
    raise ConnectionResetError("the connection is lost")
"""
"""A sample that learns a task when its worker is ready, and loses its connection when that task arrives."""


def test_a_lost_connection_gives_back_tasks_that_came_late(sample_of, moto_aws, tmp_path):
    """A request that is not ours is given back like the others, and the worker goes on."""
    (tmp_path / "learning.py").write_text(LATE)
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={"worker_prefetch_multiplier": 4})
    sample.environment["PYTHONPATH"] = str(tmp_path)
    worker = sample.worker(pool="threads", concurrency=1, app="learning")
    running = sample.hold.delay("x")
    eventually(sample.notes)
    sample.app.send_task("late")
    eventually(lambda: worker.text().count("Connected to") == 2)
    sample.note("go on")

    assert running.get(timeout=30) == 1
    eventually(lambda: "late" in sample.notes())
    assert "ERROR" not in worker.text()
    assert worker.process.poll() is None

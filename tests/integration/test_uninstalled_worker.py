"""A worker in this process, and an app that is as it was afterwards."""

from app_state import state
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline


def test_a_worker_can_be_undone():
    """After a worker has run in this process, ``uninstall`` restores tasks, signals and filters too."""
    app = Celery("sample_app", broker="memory://", set_as_current=False)
    assert all([app.tasks, app.amqp, app.control])
    before = state(app)
    pipeline.install(app, "memory://shop")
    with start_worker(app, perform_ping_check=False):
        assert state(app)[2] != before[2]
    pipeline.uninstall()

    app.conf.changes.pop("include")  # Celery's own
    assert state(app) == before

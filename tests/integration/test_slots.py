"""A request that cannot be handed to the pool is over for the worker, whichever pool that is."""

from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker import WorkController
from celery.worker.state import reserved_requests, task_reserved

import pipeline


class Request:
    """A request that no pool takes."""

    id, message = "task", "message"

    def execute_using_pool(self, pool):
        raise ValueError("not sent")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_request_that_reached_no_pool_is_not_reserved(pool):
    """Its message is rejected, and it counts no more among those that the worker has."""
    app = Celery("slots", broker="memory://", set_as_current=False)
    pipeline.install(app, store="memory://slots")
    try:
        worker, request, rejected = WorkController(app, pool=pool, concurrency=1), Request(), []
        worker.consumer = SimpleNamespace(
            connection_errors=(), channel_errors=(), on_unprocessed=lambda *it: rejected.append(it[0])
        )
        task_reserved(request)
        worker.process_task(request)
    finally:
        pipeline.uninstall()

    assert rejected == ["message"]
    assert request not in reserved_requests

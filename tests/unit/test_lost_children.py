"""A child that is lost after its task had succeeded: the success counts, and nothing is read for it."""

import pytest
from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.exceptions import WorkerLostError
from celery.worker.request import Request
from kombu.message import Message

from pipeline import backend
from pipeline.serializer import serializer
from pipeline.worker.request import RequestMixin


@pytest.fixture
def app(claimcheck, tmp_path):
    """An app that keeps large results in the store."""
    app = Celery("lost", broker="memory://", backend=f"file://{tmp_path}", set_as_current=False)
    app.conf.update(result_serializer=serializer.NAME, result_accept_content=[serializer.NAME])
    backend.extend(app)
    yield app
    app.close()


@pytest.fixture
def lost():
    """Return what a pool says of a child that was lost."""
    try:
        raise WorkerLostError("lost")  # noqa: TRY301 - for its traceback
    except WorkerLostError:
        return ExceptionInfo()


@pytest.mark.parametrize("is_there", [True, False])
def test_the_result_of_a_success_is_not_read_in_the_main_process(app, lost, store, noise, is_there):
    """The message is acknowledged, not run again, and no payload comes to the main process to be logged."""
    acknowledged, rejected = [], []

    @app.task(name="lost.big", shared=False, acks_late=True, reject_on_worker_lost=True)
    def big():
        pass

    app.backend.store_result("id", noise, "SUCCESS")
    if not is_there:
        store.delete([stored.key for stored in store.list()])
    message = Message(
        body=b"[[], {}, {}]", content_type="application/json", headers={"task": big.name, "id": "id"}
    )
    request = type("Request", (RequestMixin, Request), {})(
        message,
        app=app,
        task=big,
        on_ack=lambda *_: acknowledged.append("id"),
        on_reject=lambda *_: rejected.append("id"),
        hostname="host",
    )
    request.on_failure(lost)

    assert (acknowledged, rejected) == (["id"], [])
    assert "get" not in store.calls

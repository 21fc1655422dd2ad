"""The gateway shows the state of a task, and its result if that is small JSON."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import msgspec
import pytest
from celery import Celery

from pipeline import backend
from pipeline.gateway.task_states import RESULT_LIMIT_BYTES, TaskState, _succeeded, state_of


@pytest.fixture
def app():
    return Celery("states", backend="cache+memory://", set_as_current=False)


def shown(app, task_id):
    return msgspec.json.decode(msgspec.json.encode(state_of(app, task_id)))


@pytest.mark.parametrize(
    ("result", "seen"),
    [
        ({"rows": 2}, {"rows": 2}),
        (None, None),
        (
            {"total": Decimal("1.50"), "at": datetime(2026, 1, 1, tzinfo=UTC)},
            {"total": "1.50", "at": "2026-01-01T00:00:00Z"},
        ),
    ],
)
def test_a_small_result_is_shown(app, result, seen):
    """A result is shown in JSON, with decimals and times as texts."""
    task_id = str(uuid4())
    app.backend.store_result(task_id, result, "SUCCESS")

    assert shown(app, task_id).get("result") == seen


def test_a_large_result_is_left_out(app):
    """A result above 64 KiB is left out, and the state says so."""
    task_id = str(uuid4())
    app.backend.store_result(task_id, "x" * RESULT_LIMIT_BYTES, "SUCCESS")

    assert shown(app, task_id) == {"id": task_id, "state": "SUCCESS", "is_result_left_out": True}


def test_another_type_is_left_out(app):
    """A result that JSON lacks is left out."""
    task_id = str(uuid4())
    assert _succeeded(task_id, object()) == TaskState(task_id, "SUCCESS", is_result_left_out=True)


def test_a_failure_shows_its_class_alone(app):
    """The text of an exception may hold what the task was given."""
    task_id = str(uuid4())
    app.backend.store_result(task_id, ValueError("confidential"), "FAILURE")

    assert shown(app, task_id) == {"id": task_id, "state": "FAILURE", "error": "ValueError"}


def test_an_unknown_task_is_pending(app):
    """Nothing is known of a task that nobody has sent."""
    assert shown(app, "2") == {"id": "2", "state": "PENDING"}


@pytest.mark.usefixtures("claimcheck")
@pytest.mark.parametrize("options", [{"result_threshold_bytes": 0}])
def test_a_stored_result_is_read_if_it_is_small(app, store):
    """A result in the store is shown, and one that is certainly too large is not even read."""
    app.conf.update(result_serializer="claimcheck", result_accept_content=["claimcheck"])
    backend.extend(app)
    for task_id, size_bytes in (("small", 10_000), ("large", 4 * RESULT_LIMIT_BYTES)):
        app.backend.store_result(task_id, "x" * size_bytes, "SUCCESS")

    assert shown(app, "small")["result"] == "x" * 10_000
    assert shown(app, "large") == {"id": "large", "state": "SUCCESS", "is_result_left_out": True}
    assert store.calls["get"] == 1

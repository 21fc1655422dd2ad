"""The time chain on SQS: with a heartbeat, only the 12 hours of SQS bound a task."""

import pytest
from celery import Celery

import pipeline
from pipeline.installation import uninstall


@pytest.fixture
def app():
    yield Celery("sample_app", broker="sqs://", set_as_current=False)
    uninstall()


def conf(limit, **options):
    return {"task_time_limit": limit, "broker_transport_options": options}


@pytest.mark.parametrize("limit", [1_800, 43_199])
def test_a_task_may_outlive_its_visibility_timeout(app, limit):
    """The heartbeat extends messages in flight, so a limit above the visibility timeout is accepted."""
    app.conf.update(conf(limit, visibility_timeout=60))

    assert pipeline.install(app, "memory://shop")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (conf(43_200), "time limit 43200 s is not below the 43200 s for which SQS can hide a message"),
        (conf(1_800, visibility_heartbeat=False), "not below the visibility timeout 60 s"),
        (conf(60, visibility_heartbeat=False, visibility_timeout=60), "or lower the limit"),
    ],
)
def test_a_timeout_that_is_not_extended_bounds_a_task(app, changes, expected):
    """Above 12 hours, or without the heartbeat above the visibility timeout, a task would run twice."""
    app.conf.update(changes)

    with pytest.raises(ValueError, match=expected):
        pipeline.install(app, "memory://shop")

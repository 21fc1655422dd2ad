"""Doors that install does not take."""

import pytest
from celery import Celery

import pipeline


def lines(message):
    return []


@pytest.mark.parametrize("doors", [{"words": "door"}, {"": lines}, [lines]])
def test_what_is_no_door(doors):
    """A door that cannot be called, or that has no queue, is an error of install."""
    app = Celery("doors_app", broker="sqs://", set_as_current=False)

    with pytest.raises(ValueError, match="doors"):
        pipeline.install(app, "memory://doors", doors=doors)


@pytest.mark.parametrize("broker", ["redis://localhost", "memory://"])
def test_doors_need_sqs(broker):
    """Another broker has no door, so to ask for one is an error of install, which changes nothing."""
    app = Celery("doors_app", broker=broker, set_as_current=False)

    with pytest.raises(ValueError, match="doors for words: expected an sqs:// broker, and this app's is"):
        pipeline.install(app, "memory://doors", doors={"words": lines})
    assert app.conf.task_serializer == "json"

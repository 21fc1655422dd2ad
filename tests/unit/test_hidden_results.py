"""What a task returns is not shown, unless it says so."""

import logging

import pytest
from celery import Celery

from pipeline import undo
from pipeline.worker.celery_fixes.hidden_results import NOT_SHOWN, hide_results, shown


@pytest.fixture
def app():
    """An app with a task as Celery makes it, and one that wants its result shown."""
    app = Celery("bare", set_as_current=False)

    def nothing():
        return None

    app.task(nothing, name="plain", shared=False)
    app.task(nothing, name="open", shared=False, resultrepr_maxsize=100)
    with undo.undone():
        hide_results(app.tasks.values())
        hide_results(app.tasks.values())
        yield app


@pytest.mark.parametrize(("name", "characters"), [("plain", 0), ("open", 100)])
def test_only_what_a_task_asks_for_is_shown(app, name, characters):
    """Celery's default becomes none, a task's own choice stays."""
    assert app.tasks[name].resultrepr_maxsize == characters


@pytest.mark.parametrize(("text", "seen"), [(", ...", NOT_SHOWN), ("'42'", "'42'"), (None, None)])
def test_the_log_says_that_it_is_not_shown(app, caplog, text, seen):
    """Celery's line is readable, and other lines are unchanged."""
    logger = logging.getLogger("celery.app.trace")
    with caplog.at_level(logging.INFO, logger.name):
        logger.info("succeeded: %(return_value)s", {"return_value": text})
        logger.info("%s more", text)

    assert caplog.messages == [f"succeeded: {seen}", f"{text} more"]
    assert shown(text) == seen

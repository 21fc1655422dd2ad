"""A Celery user misses nothing: Celery's own integration tests pass over SQS with the claim check.

A part of them; ``make suites`` runs all, and compares with Redis.
"""

import pytest
from compare_suites import FAILING
from standins import AWS
from suites import run_celery

pytestmark = [pytest.mark.aws, pytest.mark.worker]

TASKS = "not test_revoked_by_headers_complex_canvas and not test_trace_log_arguments"
"""All tests of ``test_tasks.py`` but those that fail, each for a reason that ``make suites`` names.

The first leaves tasks behind that sleep, so that others after it may not be received in time.
"""
CANVAS = "test_generator[3] or test_generator[4] or test_link_error or test_xmap"
"""Tests of ``test_canvas.py`` that lean most on when and how messages are sent."""


def opened(server):
    """Return AWS, empty."""
    server.reset()
    return AWS(server.name, server.url)


def unexpected(ran):
    """Return the names of the tests that failed and are not known to."""
    return {name for name in ran.ended("failed") if not any(known in name for known in FAILING)}


def test_inspect(moto, redis_server):
    """Workers answer every question of ``inspect`` as Celery's tests want it."""
    ran = run_celery("test_inspect.py", redis_server, opened(moto), 262_144)

    assert unexpected(ran) == set(), ran.said[-3000:]
    assert ran.count("passed") == 13


@pytest.mark.timeout(1_200)
def test_tasks(moto, redis_server):
    """Tasks do what Celery's tests want with every body in the store."""
    ran = run_celery("test_tasks.py", redis_server, opened(moto), options=("-k", TASKS))

    assert ran.ended("failed") == set(), ran.said[-3000:]
    assert ran.count("passed") == 57


@pytest.mark.timeout(600)
def test_canvas(ministack, redis_server):
    """Canvases do what Celery's tests want with every body in the store."""
    ran = run_celery("test_canvas.py", redis_server, opened(ministack), options=("-k", CANVAS))

    assert unexpected(ran) == set(), ran.said[-3000:]
    assert ran.count("passed") == 19


@pytest.mark.timeout(600)
def test_group_chains(ministack, redis_server):
    """Chains of groups end in both of Celery's message protocols."""
    selected = "test_group_results_reach_the_next_group and True-True-True"
    ran = run_celery("test_group_chains.py", redis_server, opened(ministack), options=("-k", selected))

    assert unexpected(ran) == set(), ran.said[-3000:]
    assert ran.count("passed") == 2

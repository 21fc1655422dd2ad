"""A Celery user misses nothing: Celery's own integration tests pass over SQS with the claim check."""

import re

import pytest
import suites
from standins import AWS, environment

pytestmark = [pytest.mark.aws, pytest.mark.worker]

PLUGINS = ["celery.contrib.pytest", "celery_suite", "no:randomly", "no:cacheprovider"]
"""Ours after Celery's, whose fixtures it replaces."""

FAILING = {
    "test_trace_log_arguments": "fails over Redis, too; and we write no arguments to logs",
    "test_revoked_by_headers_complex_canvas": "fails over Redis, too",
}
"""Tests of ``test_tasks.py`` that do not pass, and why; over Redis it is Celery alone that fails them."""


def opened(server):
    """Return AWS, empty."""
    server.reset()
    return AWS(server.name, server.url)


def failed(said):
    """Return the names of the tests that failed, each in short if it is known to."""
    names = re.findall(r"^FAILED (\S+)", said, re.MULTILINE)
    return {next((known for known in FAILING if known in name), name) for name in names}


def run(aws, redis_server, file, threshold_bytes):
    """Run a file of Celery's integration tests, and return what pytest said of it."""
    settings = environment(aws.url) | {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_server.port),
        "SUITE_STORE": f"s3://{aws.bucket()}/claims",
        "SUITE_THRESHOLD_BYTES": str(threshold_bytes),
        "TEST_BACKEND": redis_server.url,
        "TEST_BROKER": "sqs://",
    }
    options = ("-o", "addopts=", "-W", "ignore")
    return suites.run("celery", f"t/integration/{file}", PLUGINS, *options, **settings)


def test_inspect(moto, redis_server):
    """Workers answer every question of ``inspect`` as Celery's tests want it."""
    said = run(opened(moto), redis_server, "test_inspect.py", 262_144)

    assert failed(said) == set(), said[-3000:]
    assert suites.passed(said) == 13


@pytest.mark.timeout(1_200)
def test_tasks(moto, redis_server):
    """Tasks do what Celery's tests want with every body in the store, but for what fails without it."""
    said = run(opened(moto), redis_server, "test_tasks.py", 0)

    assert failed(said) == set(FAILING), said[-3000:]
    assert suites.passed(said) >= 57

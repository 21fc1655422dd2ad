"""A Celery user misses nothing: Celery's own integration tests pass over SQS with the claim check."""

import os
import re
import subprocess
import sys

import celery
import pytest
from standins import AWS, environment
from workers import TESTS

pytestmark = [pytest.mark.aws, pytest.mark.worker]

SOURCE = TESTS.parent / ".local" / f"celery-{celery.__version__}"
"""Celery's source distribution, as ``make test`` unpacks it: its wheel has no tests."""

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


def passed(said):
    """Return how many passed."""
    return int(re.search(r"(\d+) passed", said)[1])


def run(aws, redis_server, file, threshold_bytes):
    """Run a file of Celery's integration tests, and return what pytest said of it."""
    if not SOURCE.exists():
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent(f"{SOURCE} is not there: make test fetches it")
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", f"t/integration/{file}"]
    command += [
        "-p",
        "celery.contrib.pytest",
        "-p",
        "celery_suite",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    settings = environment(aws.url) | {
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent))),
        "PYTEST_ADDOPTS": "",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_server.port),
        "SUITE_STORE": f"s3://{aws.bucket()}/claims",
        "SUITE_THRESHOLD_BYTES": str(threshold_bytes),
        "TEST_BACKEND": redis_server.url,
        "TEST_BROKER": "sqs://",
    }
    ran = subprocess.run(
        [*command, "-o", "addopts=", "-W", "ignore"],
        cwd=SOURCE, env=os.environ | settings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ran.stdout


def test_inspect(moto, redis_server):
    """Workers answer every question of ``inspect`` as Celery's tests want it."""
    said = run(opened(moto), redis_server, "test_inspect.py", 262_144)

    assert failed(said) == set(), said[-3000:]
    assert passed(said) == 13


@pytest.mark.timeout(600)
def test_tasks(moto, redis_server):
    """Tasks do what Celery's tests want with every body in the store, but for what fails without it."""
    said = run(opened(moto), redis_server, "test_tasks.py", 0)

    assert failed(said) == set(FAILING), said[-3000:]
    assert passed(said) >= 57

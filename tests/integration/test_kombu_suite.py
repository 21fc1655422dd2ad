"""Our SQS transport is a drop-in: Kombu's own tests of its SQS transport pass with ours in its place."""

import os
import re
import subprocess
import sys
from pathlib import Path

import kombu
import pytest

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / ".local" / f"kombu-{kombu.__version__}"
"""Kombu's source distribution, as ``make test`` unpacks it: its wheel has no tests."""

REPLACED = {
    "test_new_fifo_queue": "a queue that is made gets a dead-letter queue and encryption",
    "test_basic_ack_invalid_receipt_handle": "a delete that SQS refuses is an error, no acknowledgement",
    "test_basic_ack_delete_error_with_backoff": "the same, for queues with Kombu's own backoff policy",
    "test_delete_message": "what nobody acknowledges is deleted a call at a time, not one by one",
    "test_put_fanout_non_fifo_queue": "fanout goes through a topic that is made anew if it was deleted",
}
"""Tests that assert what our transport is there to change."""


def test_kombus_own_tests_pass():
    """All pass but those that assert the very behaviour that was replaced."""
    if not SOURCE.exists():
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent(f"{SOURCE} is not there: make test fetches it")
    command = [sys.executable, "-m", "pytest", "-p", "kombu_suite", "t/unit/transport/SQS", "-q", "--tb=line"]
    path = os.pathsep.join(map(str, (TESTS, TESTS.parent)))
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    ran = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    failed = re.findall(r"^FAILED \S+::(\w+)", ran.stdout, re.MULTILINE)
    passed = re.search(r"(\d+) passed", ran.stdout)

    assert set(failed) == set(REPLACED), ran.stdout[-3000:]
    assert passed, ran.stdout[-3000:]
    assert int(passed[1]) >= 307

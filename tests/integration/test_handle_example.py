"""The example of handles runs, and says what it did."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.aws
def test_the_example_of_handles_runs():
    """It stores a file, streams it in a task, reads the answer in three ways, and leaves nothing."""
    program = [sys.executable, "-m", "examples.handles"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert "stored 17,047,315 of 17,047,315 bytes" in done.stdout
    assert "totals: {'EUR': '9899800.00', 'USD': '10100000.00'}" in done.stdout
    assert "400 rows were rejected: <handle of claims/handles/7d/v1/" in done.stdout
    assert "attachment; filename*=UTF-8''rejected.csv" in done.stdout
    assert done.stdout.endswith("left in the store: 0\n")

"""``make demo-doors``: a client without AWS credentials uploads files, tasks run, and nothing is left."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.aws, pytest.mark.worker]


def test_every_check_of_the_demo_holds():
    """The demo ends with status 0 and shows five checks, each of which holds."""
    done = subprocess.run(
        [sys.executable, "-m", "tasks.demo.doors"],
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[0] for line in done.stdout.splitlines()[-5:]] == ["✓"] * 5
    assert "payments-of-a-year.csv" in done.stdout

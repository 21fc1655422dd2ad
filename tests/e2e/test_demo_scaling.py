"""``make demo-scaling``: workers of two queues come and go by backlog, and nothing is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.aws, pytest.mark.worker]


def test_every_check_of_the_demo_holds():
    """The demo ends with status 0 and shows seven checks, each of which holds, and what ``top`` showed."""
    done = subprocess.run(
        [sys.executable, "-m", "tasks.demo.scaling", "--minute", "0.3"],
        cwd=ROOT, capture_output=True, text=True, timeout=220, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[0] for line in done.stdout.splitlines()[-7:]] == ["✓"] * 7
    assert "workers     4, 8 tasks at once" in done.stdout

"""The example of shared values runs, and says what it did."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.aws
def test_the_example_of_shared_values_runs():
    """Ten tasks get one upload, and the last end leaves nothing, as the page shows."""
    program = [sys.executable, "-m", "examples.shared"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout in (ROOT / "docs/howto/sharing.md").read_text()

"""A command of a deployment whose settings are wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECRET = "0123456789abcdef"
WRONG = {"CLAIMCHECK_SIGNING_KEY": SECRET, "CLAIMCHECK_KMS_KEY_ID": "alias/mine"}
"""Two that do not go together with the defaults."""


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"]])
def test_the_command_shows_no_value(words):
    """Neither stdout nor stderr of a command whose settings are wrong shows the signing key."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "-A", "tasks.app", *words],
        cwd=ROOT,
        env={**os.environ, **WRONG},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "CLAIMCHECK_KMS_KEY_ID needs" in done.stderr
    assert SECRET not in done.stdout + done.stderr

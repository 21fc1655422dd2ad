"""Programs that a test writes: for what only a whole process shows, such as a fork or an exit."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent


def printed_by(source, *options):
    """Run a program that may fork, freeze or exit, with Python's options, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *options, "-c", dedent(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_path():
    """Return the environment in which the scripts of this virtual environment are found by name."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONWARNINGS": "default"}

"""Celery's and Kombu's own tests, run from their source distributions as ``make test`` unpacks them."""

import importlib.metadata
import os
import re
import subprocess
import sys

from standins import absent
from workers import TESTS


def run(name, tests, plugins, *options, **settings):
    """Run tests of a distribution with plugins of ours and others, and return what pytest said."""
    source = TESTS.parent / ".local" / f"{name}-{importlib.metadata.version(name)}"
    if not source.exists():
        absent(f"{source} is not there: make test fetches it")
    words = [word for plugin in plugins for word in ("-p", plugin)]
    path = os.pathsep.join(map(str, (TESTS, TESTS.parent)))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", tests, "-q", "--tb=line", *words, *options],
        cwd=source, env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "", **settings},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ran.stdout


def passed(said):
    """Return how many passed."""
    found = re.search(r"(\d+) passed", said)
    assert found, said[-3000:]
    return int(found[1])

"""Celery's and Kombu's own tests, run from their source distributions as ``make test`` unpacks them."""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from standins import ROOT, absent, environment
from workers import SUPPORT

CELERY_ALONE = ["celery.contrib.pytest", "no:randomly", "no:cacheprovider"]
WITH_CLAIM_CHECK = ["celery.contrib.pytest", "celery_suite", "no:randomly", "no:cacheprovider"]
"""Ours after Celery's, whose fixtures it replaces."""


@dataclass(frozen=True)
class Ran:
    """What pytest reported: its output, and the outcome of each test by its class and name."""

    said: str
    outcomes: Mapping[str, str]

    def ended(self, outcome):
        """Return the names of the tests that ``passed``, ``failed``, were ``skipped`` or ``xfailed``."""
        return {name for name, each in self.outcomes.items() if each == outcome}

    def count(self, outcome):
        """Return how many tests had an outcome."""
        return len(self.ended(outcome))


def run(name, tests, plugins, *options, **settings):
    """Run tests of a distribution with plugins of ours and others, and return what pytest reported."""
    source = ROOT / ".local" / f"{name}-{importlib.metadata.version(name)}"
    if not source.exists():
        absent(f"{source} is not there: make test fetches it")
    words = [word for plugin in plugins for word in ("-p", plugin)]
    path = os.pathsep.join(map(str, (SUPPORT, ROOT)))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", tests, "-q", "--tb=line", f"--junitxml={report}"]
        ran = subprocess.run(
            [*command, *words, *options],
            cwd=source, env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "", **settings},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Ran(ran.stdout + ran.stderr, _outcomes(report))


def _outcomes(report):
    cases = ET.parse(report).iter("testcase") if report.exists() else ()
    return {
        f"{case.get('classname').rpartition('.')[2]}::{case.get('name')}": _outcome(case) for case in cases
    }


def _outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    skipped = case.find("skipped")
    if skipped is None:
        return "passed"
    return "xfailed" if skipped.get("type") == "pytest.xfail" else "skipped"


def run_celery(file, redis, aws=None, threshold_bytes=0, options=()):
    """Run a file of Celery's integration tests: over Redis with Celery alone, or over SQS with ours."""
    settings = {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis.port),
        "TEST_BACKEND": redis.url,
        "TEST_BROKER": "sqs://" if aws else redis.url,
    }
    if aws:
        settings |= environment(aws.url) | {
            "SUITE_STORE": f"s3://{aws.bucket()}/claims",
            "SUITE_THRESHOLD_BYTES": str(threshold_bytes),
        }
    plugins = WITH_CLAIM_CHECK if aws else CELERY_ALONE
    path = f"t/integration/{file}"
    return run("celery", path, plugins, "-o", "addopts=", "-W", "ignore", *options, **settings)

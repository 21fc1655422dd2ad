"""The pytest plugin in test suites of users: each is a pytest of its own."""

import re
from pathlib import Path

import pytest

pytest_plugins = "pytester"

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "testing.md"
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
"""The code of the page: each block is a file."""

IMPORTED = """
import sys

def pytest_sessionfinish():
    print("imported:", sorted({"celery", "kombu", "boto3", "pipeline"} & set(sys.modules)))
"""

WITH_CELERYS_FIXTURES = """
import pytest
from celery import shared_task

@shared_task
def count(orders):
    return len(orders)

@pytest.mark.claimcheck(threshold_bytes=0)
def test_celerys_worker_runs_it(claimcheck_app, celery_worker):
    result = count.delay([1] * 300_000)

    assert claimcheck_app.sent[-1].is_offloaded  # Celery has sent a ping before
    assert result.get(timeout=20) == 300_000
"""


@pytest.fixture
def suite(pytester):
    """Run pytest, with warnings as errors, on files whose names are given with their content."""

    def run(*options, files):
        for name, content in files.items():
            (pytester.path / name).write_text(content)
        return pytester.runpytest_subprocess("-W", "error", "--strict-markers", *options)

    return run


def test_the_page_is_true(suite):
    """Every block of the page on testing runs as it is written, in any order and in parallel processes."""
    assert PAGE.read_text().count("```python") == len(FILES)
    done = suite("-n", "2", files=FILES)

    tests = sum(code.count("def test_") for code in FILES.values())
    assert done.parseoutcomes() == {"passed": tests}


def test_the_plugin_imports_nothing_until_it_is_used(suite):
    """A suite that does not use the fixture imports neither Celery nor this library."""
    done = suite("-s", files={"conftest.py": IMPORTED, "test_it.py": "def test_nothing(): ..."})

    done.stdout.fnmatch_lines(["*imported: []"])


def test_a_module_of_that_name_leaves_pytest_working(suite):
    """Where ``pipeline`` is the user's own, tests run; one that uses the fixture gets an error."""
    tests = "import pipeline\ndef test_theirs(): assert pipeline.ours == 1\ndef test_it(claimcheck_app): ..."
    done = suite(files={"pipeline.py": "ours = 1", "conftest.py": "import pipeline", "test_it.py": tests})

    assert done.parseoutcomes() == {"passed": 1, "errors": 1}
    done.stdout.fnmatch_lines(["*'pipeline' is *another module; rename that module to use the library"])


def test_a_missing_app_is_asked_for(suite):
    """Without a fixture ``celery_app`` the error says what to write."""
    done = suite(files={"test_it.py": "def test_it(claimcheck_app): ..."})

    done.stdout.fnmatch_lines(["*LookupError: claimcheck_app needs a fixture celery_app that returns your*"])


def test_an_error_in_the_users_fixture_is_theirs(suite):
    """A fixture that ``celery_app`` itself lacks is named as pytest does."""
    conftest = "import pytest\n@pytest.fixture\ndef celery_app(nothing): ..."
    done = suite(files={"conftest.py": conftest, "test_it.py": "def test_it(claimcheck_app): ..."})

    done.stdout.fnmatch_lines(["*fixture 'nothing' not found"])


def test_celerys_own_fixtures_work_with_it(suite):
    """Celery's test app is taken, and its worker runs what the test has sent."""
    done = suite("-p", "celery.contrib.pytest", files={"test_it.py": WITH_CELERYS_FIXTURES})

    assert done.parseoutcomes() == {"passed": 1}

"""The project of docs/quickstart-django.md, built from the page: commands, a worker, a beat, tests."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sample_fixtures import entered
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart-django.md").read_text()
FILES = re.findall(r"^```python\n# (add to )?(\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    block.splitlines() for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]
QUICK = """
from shop.settings import *
CELERY_BEAT_SCHEDULE["tidy"]["schedule"] = 0.2
CELERY_BROKER_TRANSPORT_OPTIONS = {"wait_time_seconds": 1}
"""
"""The page's settings, for a beat and a worker that need not be waited for."""
ROWS = [{"id": uuid4().hex, "amount": number} for number in range(20_000, 0, -1)]


class Project:
    """A folder with the page's project, and the environment of its processes."""

    def __init__(self, folder, aws):
        self.folder = folder
        self.aws = aws
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(self, line, **variables):
        """Run a command of the page to its end, and return what it printed."""
        done = subprocess.run(
            self._words(line),
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def running(self, line, *options, **variables):
        """Run a command of the page until the block ends; give its log."""
        log = self.folder / f"{uuid4().hex}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*self._words(line), *options],
                cwd=self.folder,
                env={**self.environment, **variables},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            yield log.read_text
        finally:
            process.terminate()
            process.wait(60)

    @staticmethod
    def _words(line):
        program, *rest = shlex.split(line)
        return [sys.executable, *(["-m", program] if program != "python" else []), *rest]

    def write(self):
        """Write the page's files into what ``startproject`` made."""
        for more, name, text in FILES:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text((path.read_text() if more else "") + text)

    def request(self, method, path, body=None):
        """Return status and answer of a view, called in a process of its own, as a web server would."""
        source = (
            "import sys, django; django.setup(); from django.test import Client; "
            "c = Client(SERVER_NAME='localhost'); "
            f"r = c.{method}({path!r}, sys.stdin.read() or None, content_type='application/json'); "
            "print(r.status_code); print(r.content.decode())"
        )
        done = subprocess.run(
            [sys.executable, "-c", source],
            cwd=self.folder,
            env={**self.environment, "DJANGO_SETTINGS_MODULE": "shop.settings"},
            input=json.dumps(body) if body else "",
            capture_output=True,
            text=True,
            check=True,
        )
        status, answer = done.stdout.splitlines()
        return int(status), json.loads(answer)

    def totals(self):
        """Return the totals of all imports."""
        with sqlite3.connect(self.folder / "db.sqlite3") as database:
            return [total for (total,) in database.execute("SELECT total FROM orders_import")]

    def payloads(self):
        """Return the keys in the page's bucket."""
        listed = self.aws.client("s3").list_objects_v2(Bucket="my-bucket").get("Contents", ())
        return [stored["Key"] for stored in listed]


@pytest.fixture(scope="module")
def project(tmp_path_factory, moto):
    """The project of the page, migrated, with its bucket, its queue and its file of orders."""
    with pytest.MonkeyPatch.context() as patch:
        made = Project(tmp_path_factory.mktemp("django"), entered(moto, patch))
        made.environment.update(os.environ)
        _, create, migrate, prepare, *_ = COMMANDS
        for line in create:
            made.run(line)
        made.write()
        for line in [*migrate, *prepare]:
            made.run(line)
        yield made


def succeeded(log, task):
    """Wait until a worker's log says that a task of the page has succeeded."""
    eventually(lambda: re.search(rf"Task orders\.tasks\.{task}\[\S+\] succeeded", log()))


def test_the_page_is_a_project_that_runs(project):
    """Large arguments and results go through the store, beat's task runs, and nothing is left."""
    *_, (worker, beat, publish), _ = COMMANDS
    rows = json.loads((project.folder / "rows.json").read_text())
    (project.folder / "shop" / "quick.py").write_text(QUICK)
    project.run(publish)
    stored, depth, before = project.payloads(), project.aws.depth("celery"), project.totals()
    quick = {"DJANGO_SETTINGS_MODULE": "shop.quick"}
    with project.running(worker, "-l", "INFO", "-c", "1", **quick) as log:
        succeeded(log, "total")
        after = project.totals()
        with project.running(beat, **quick):
            status, answer = project.request("post", "/orders/sorted", ROWS)
            succeeded(log, "by_amount")
            read = project.request("get", f"/orders/sorted/{answer['id']}")
            succeeded(log, "tidy")
        eventually(lambda: not project.payloads())

    assert len(stored) == 1
    assert stored[0].startswith("claims/")
    assert depth.waiting == 1
    assert (before, after) == ([None], [sum(row["amount"] for row in rows)])
    assert (status, read) == (202, (200, {"rows": ROWS[::-1]}))


def test_the_tests_of_the_page_pass(project):
    """Eager tests of the page need neither broker nor store."""
    *_, (test,) = COMMANDS

    assert "Ran 1 test" in project.run(test, AWS_ENDPOINT_URL="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("shop.misspelled", r"unknown setting CELERY_CLAIMCHECK_STOER \(did you mean store\?\)"),
        ("outside", "outside is still being imported, and settings further down are not known yet"),
    ],
)
def test_wrong_settings_end_manage_py(project, module, sentence):
    """A command ends with the sentence that names a misspelled setting, or half-imported settings."""
    wrong = project.folder / f"{module.replace('.', '/')}.py"
    wrong.write_text("from shop.settings import *\nCELERY_CLAIMCHECK_STOER = 1\n")

    with pytest.raises(AssertionError, match=f"ValueError: {sentence}"):
        project.run(f"python manage.py check --settings={module}")

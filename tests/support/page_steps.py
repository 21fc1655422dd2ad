"""A how-to page as a program: its files are written and its commands run, one after another, in a folder."""

import re
import shlex
import subprocess
from contextlib import contextmanager
from pathlib import Path

from programs import on_path
from workers import eventually

DOCS = Path(__file__).parents[2] / "docs"
FENCED = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIES = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ?|\d+ s\b|[\da-f]{8}-[\da-f-]{27}|v1/[\da-f]{2}/[\d/]{11}[\da-f]{40}"
    r"|receive_count +\d+|celery@\w+|(?<='time_start': )[\d.]+|(?<='worker_pid': )\d+|(?<=Job: )\d+|\s+"
)
"""Times, ids, keys, names of machines and processes, and the width of columns, which follows them."""


class Steps:
    """The files and commands of a page, in its order. Each is used once.

    Args:
        page: the page, below docs/.
        folder: where commands run.
        quick: what is added to each version of the app's module, so that a test need not wait.
        replaced: what the page shows, and what stands in for it here.
    """

    def __init__(self, page, folder, quick="", replaced=()):
        text = (DOCS / page).read_text()
        for shown, meant in dict(replaced).items():
            text = text.replace(shown, meant)
        self.folder, self.quick = folder, quick
        self.environment = {**on_path(), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"}
        blocks = FENCED.findall(text)
        self.files = [source for kind, source in blocks if kind == "python"]
        self.commands = [step for kind, source in blocks if kind == "console" for step in _commands(source)]

    def write(self, name):
        """Write the page's next file, which has that name."""
        source = self.files.pop(0)
        assert source.startswith(f"# {name}\n"), source
        (self.folder / name).write_text(source + (self.quick if name == "shop.py" else ""))

    def run(self, beginning, status=0):
        """Run the page's next command, which begins so, and compare what it prints with the page.

        A command that ends with a finding has another status; None is any.
        """
        line, shown = self._next(beginning)
        done = self._run(["bash", "-c", line])
        assert status in {None, done.returncode}, done.stdout + done.stderr
        assert not shown or _same(done.stdout) == _same(shown), done.stdout
        return done.stdout

    def skip(self, beginning):
        """Leave out the page's next command, which is for another case."""
        self._next(beginning)

    def python(self, source):
        """Run a program that is not on the page, and return what it prints."""
        done = self._run(["python", "-c", source])
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @contextmanager
    def running(self, beginning, ready=" ready."):
        """Run the page's next command, a worker or beat, for the length of a ``with`` block; give its log."""
        line, _ = self._next(beginning)
        with self.process(line, ready) as log:
            yield log

    @contextmanager
    def process(self, line, ready=" ready."):
        """Run a command that is not on the page for the length of a ``with`` block; give its log."""
        names = [word for word in shlex.split(line) if re.match("[A-Z_]+=", word)]
        words = [word for word in shlex.split(line) if word not in names]
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        variables = self.environment | dict(name.split("=", 1) for name in names)
        with log.open("wb") as file:
            process = subprocess.Popen(
                words, cwd=self.folder, env=variables, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            eventually(lambda: ready in log.read_text(), 60, f"not ready: {line}")
            yield log.read_text
        finally:
            process.terminate()
            process.wait(60)

    def check_all_used(self):
        """Fail if the page has a file or a command that was not used."""
        assert (self.files, self.commands) == ([], [])

    def _next(self, beginning):
        line, shown = self.commands.pop(0)
        assert line.startswith(beginning), line
        return line, shown

    def _run(self, words):
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


def _commands(block):
    """Return the commands of a block, each with what it prints; without prompts, each line is a command."""
    if "$ " not in block:
        return [(line, "") for line in block.splitlines()]
    return [tuple(each.partition("\n")[::2]) for each in block.removeprefix("$ ").split("\n$ ")]


def _same(text):
    return VARIES.sub(" ", text).strip()

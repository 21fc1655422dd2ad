"""The Python on the pages runs as it stands.

A comment above each block says how:

- ``runs``: as a program of its own. ``runs after``, and code that readers need not see: after that code.
- ``continues``: after the block before it.
- ``tested by``, and a file: that file reads the block from its page and runs it.
- ``then``, and code: that code follows.
- ``prints``, above a block of text: the program so far prints that text.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
]
MARK = re.compile(
    r"^<!-- (?P<how>runs|continues|then|prints|tested by)(?: after)?(?P<hidden>\n.*?| [\w/.]+)? ?-->\n"
    r"(?:```(?:python|text)\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Program:
    """The blocks of a page that are one program, and what it prints."""

    page: str
    source: str
    prints: str | None = None


def programs(page):
    """Return the programs of a page, in order."""
    found = []
    for mark in MARK.finditer(page.read_text()):
        hidden, shown = mark["hidden"] or "", mark["shown"] or ""
        if mark["how"] == "runs":
            found.append(Program(str(page.relative_to(ROOT)), f"{hidden}\n{shown}"))
        elif mark["how"] == "prints":
            found[-1].prints = (found[-1].prints or "") + shown
        elif mark["how"] != "tested by":
            found[-1].source += f"{hidden}\n{shown}"
    return found


PROGRAMS = [program for page in PAGES for program in programs(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_python_is_marked(page):
    """No Python is on a page without a comment above it that says how it is run."""
    text = page.read_text()
    marked = [mark for mark in MARK.finditer(text) if mark["shown"] and mark["how"] != "prints"]

    assert len(marked) == len(re.findall(r"^```(?:python|py)$", text, re.MULTILINE)), (
        test_every_block_of_python_is_marked.__globals__["__doc__"]
    )
    for mark in MARK.finditer(text):
        if mark["how"] == "tested by":
            assert page.name in (ROOT / mark["hidden"].strip()).read_text()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.page)
def test_each_program_runs(program, tmp_path):
    """Each program of a page runs in a process of its own, and prints what the page shows."""
    script = tmp_path / "example.py"
    script.write_text(program.source)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert program.prints is None or done.stdout == program.prints

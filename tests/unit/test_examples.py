"""The Python on the pages runs as it stands: ``tests/support/page_programs.py`` explains the marks."""

import re
from pathlib import Path

import page_programs
import pytest
from page_programs import MARK, programs

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
]
PROGRAMS = [program for page in PAGES for program in programs(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_python_is_marked(page):
    """No Python is on a page without a comment above it that says how it is run."""
    text = page.read_text()
    marked = [mark for mark in MARK.finditer(text) if mark["shown"] and mark["how"] != "prints"]

    assert len(marked) == len(re.findall(r"^```(?:python|py)$", text, re.MULTILINE)), page_programs.__doc__
    for mark in MARK.finditer(text):
        if mark["how"] == "tested by":
            assert page.name in (ROOT / mark["hidden"].strip()).read_text()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.page)
def test_each_program_runs(program, run_forked, tmp_path):
    """Each program of a page runs in a process of its own, and prints what the page shows."""
    done = run_forked(program.source, tmp_path)

    assert done.returncode == 0, done.stderr
    assert program.prints is None or done.stdout == program.prints

"""The Python on the pages runs as it stands: ``tests/support/page_programs.py`` explains the marks."""

import pytest
from page_programs import PAGES, programs

PROGRAMS = [program for page in PAGES for program in programs(page)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.page)
def test_each_program_runs(program, run_forked, tmp_path):
    """Each program of a page runs in a process of its own, and prints what the page shows."""
    done = run_forked(program.source, tmp_path)

    assert done.returncode == 0, done.stderr
    assert program.prints is None or done.stdout == program.prints

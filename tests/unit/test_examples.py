"""The Python on the pages is marked for tests: ``tests/support/page_programs.py`` explains the marks."""

import re

import page_programs
import pytest
from page_programs import MARK, PAGES, ROOT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_python_is_marked(page):
    """No Python is on a page without a comment above it that says how it is run."""
    text = page.read_text()
    marked = [mark for mark in MARK.finditer(text) if mark["shown"] and mark["how"] != "prints"]

    assert len(marked) == len(re.findall(r"^```(?:python|py)$", text, re.MULTILINE)), page_programs.__doc__
    for mark in MARK.finditer(text):
        if mark["how"] == "tested by":
            assert page.name in (ROOT / mark["hidden"].strip()).read_text()

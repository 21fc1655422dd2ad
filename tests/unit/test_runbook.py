"""What the runbook quotes is what the code says."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operate/runbook.md").read_text()
SYMPTOMS = PAGE.partition("<!-- symptoms -->")[2].partition("<!-- /symptoms -->")[0]
QUOTED = re.findall(r"^\| `([a-z]\w* [^`]*)`", SYMPTOMS, re.MULTILINE)


@pytest.fixture(scope="module")
def texts():
    """Every text in the code of the library."""
    return [
        node.value
        for module in (ROOT / "pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("line", QUOTED)
def test_each_log_line_exists(line, texts):
    """A log line that the runbook explains is one that the library writes."""
    assert any(line in text for text in texts)


def test_incidents_have_the_same_parts():
    """Each incident has its symptom, where to look, and a fix, and the list of incidents leads to it."""
    pages = {path.name: path.read_text() for path in (ROOT / "docs/operate/incidents").glob("*.md")}
    index = pages.pop("index.md")

    assert set(re.findall(r"\]\((\S+?\.md)\)", index)) - {"../runbook.md"} == pages.keys()
    for text in pages.values():
        assert "\n## Symptom\n" in text
        assert "```console\n$ " in text
        assert re.search(r"\n## (Fix|Cause and fix|Switch)\n", text)


def test_log_lines_are_explained():
    """The runbook explains the lines of messages that did not run or did not settle."""
    assert len(QUOTED) >= 9

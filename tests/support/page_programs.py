"""The programs on the pages.

A comment above each block says how it runs:

- ``runs``: as a program of its own. ``runs after``, and code that readers need not see: after that code.
- ``continues``: after the block before it.
- ``tested by``, and a file: that file reads the block from its page and runs it.
- ``then``, and code: that code follows.
- ``prints``, above a block of text: the program so far prints that text.
"""

import re
from dataclasses import dataclass
from pathlib import Path

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

"""The site of docs/: it builds without a warning, asks no other host, and is there as Markdown too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class ConfigLoader(yaml.SafeLoader):
    """Reads mkdocs.yml without what its tags stand for."""


ConfigLoader.add_multi_constructor("!", lambda *_: None)
ConfigLoader.add_multi_constructor("tag:yaml.org,2002:python", lambda *_: None)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it: strict, so a warning ends the build."""
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", directory],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return directory


def sections():
    """Return the pages of each section in the order of the site's navigation."""
    config = yaml.load((ROOT / "mkdocs.yml").read_text(), ConfigLoader)
    return {name: pages for section in config["nav"] for name, pages in section.items()}


def copies(pages):
    """Return the paths of the Markdown copies of pages."""
    return [re.sub(r"(index|README)?\.md$", "", page).rstrip("/") + "/index.md" for page in pages]


def html_pages(site):
    return [page for page in site.rglob("*.html") if page.name != "404.html"]


def test_each_page_is_there_as_markdown(site):
    """Each page is also published as Markdown, with its heading and the languages of its code."""
    assert len(html_pages(site)) > 30
    for page in html_pages(site):
        assert page.with_suffix(".md").read_text().startswith("# "), page
    assert "\n```python\n" in (site / "index.md").read_text()


def test_llms_txt_lists_every_page(site):
    """llms.txt names the copy of each page, by the sections of the navigation."""
    text = (site / "llms.txt").read_text()
    shown = {
        part.partition("\n")[0]: re.findall(r"\]\(http://127\.0\.0\.1:8000/(.*?)\)", part)
        for part in text.split("\n## ")[1:]
    }

    assert list(shown) == list(sections())
    for section, pages in sections().items():
        assert sorted(shown[section]) == sorted(path.lstrip("/") for path in copies(pages)), section


def test_the_site_asks_no_other_host(site):
    """A page loads nothing from elsewhere: no fonts, no scripts, no pictures."""
    loaded = re.compile(
        r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?(https?:)?//(?!127\.0\.0\.1)[^>]*>"
    )

    for page in html_pages(site):
        found = [match[0] for match in loaded.finditer(page.read_text())]
        assert [tag for tag in found if 'rel="canonical"' not in tag] == [], page


def test_files_outside_of_docs_are_part_of_the_site(site):
    """A link of a page to a file of the repository leads to a copy of that file in the site."""
    for path in ("deploy/core.yaml", "deploy/roles.yaml", "pipeline/errors.py", "LICENSE"):
        assert (site / "repository" / path).read_bytes() == (ROOT / path).read_bytes()
    assert (site / "repository/deploy/index.html").exists()


def test_docstrings_show_no_markup(site):
    """The reference shows docstrings as text, without the roles of another tool."""
    page = (site / "reference/docstrings/index.md").read_text()

    assert re.findall(r":\w+:`?\S+", page) == []

"""Hooks of MkDocs: files outside docs/ that a page links become part of the site.

So no link needs the address of a repository. README.md is the home page. Every other file is below
repository/, under its path in the repository.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
LINK = re.compile(r"(?<=\]\()(?!https?://|#)([^)\s#]+)")
"""The path of a link or an image: what follows ``](``."""


def uri(path: Path) -> str:
    """Return the path of a file of the repository in the site's sources."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return "index.md" if path == ROOT / "README.md" else f"repository/{path.relative_to(ROOT).as_posix()}"


def linked(page: Path) -> list[Path]:
    """Return the files of the repository that a page links."""
    return [(page.parent / link).resolve() for link in LINK.findall(page.read_text())]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the home page, and all files outside docs/ that pages link, directly or through each other."""
    pages = [Path(file.abs_src_path or "") for file in files.documentation_pages()]
    pages.append(ROOT / "README.md")
    for page in pages:  # grows as it goes: a page that is added links others
        for path in [page, *linked(page)]:
            if files.get_file_from_path(uri(path)) is None and path.is_file():
                files.append(File.generated(config, uri(path), abs_src_path=str(path)))
                if path.suffix == ".md":
                    pages.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links of a page lead to the copies in the site."""
    del config, files
    source = Path(page.file.abs_src_path or "")
    folder = Path(page.file.src_uri).parent

    def moved(link: re.Match[str]) -> str:
        return os.path.relpath(uri((source.parent / link[0]).resolve()), folder)

    return LINK.sub(moved, markdown)

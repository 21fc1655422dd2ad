"""What PyPI shows: the long description, and links."""

import re
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


BASE_URL = "https://git.example/shop/claims/blob/v0.1.0"


@pytest.fixture
def described(monkeypatch):
    """Return a function that builds the metadata with a base address."""

    def build(base_url):
        monkeypatch.setenv("README_BASE_URL", base_url)
        return ProjectMetadata(str(ROOT), PluginManager()).core

    return build


def test_links_of_the_long_description_are_absolute(described):
    """With a base address no link or image is relative, and images come as files."""
    text = described(BASE_URL).readme

    targets = re.findall(r"\]\(([^)\s]+)", text)

    assert len(targets) == len(re.findall(r"\]\(", README))
    assert all(target.startswith("https://") for target in targets)
    assert "](https://git.example/shop/claims/blob/v0.1.0/docs/explanation/message.md)" in text
    assert "](https://git.example/shop/claims/raw/v0.1.0/docs/images/flower-task.png)" in text


def test_the_long_description_is_the_readme(described):
    """Without a base address it is README.md as it stands."""
    assert described("").readme == README


def test_links_lead_to_the_release(described):
    """With a base address, PyPI shows links to source, documentation and changelog, which exist."""
    found = described(BASE_URL).urls

    assert found["Source"] == "https://git.example/shop/claims"
    assert found.keys() == {"Source", "Documentation", "Changelog"}
    for link in (found["Documentation"], found["Changelog"]):
        assert (ROOT / link.removeprefix(f"{BASE_URL}/")).is_file()


def test_no_address_is_made_up(described):
    """Without a base address there are no links."""
    assert described("").urls == {}

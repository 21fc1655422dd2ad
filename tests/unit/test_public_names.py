"""What is public is written down, and what is written down is there."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import pipeline
from pipeline import errors
from pipeline.claimcheck.claim_check import ClaimCheck

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "api.md").read_text()


def listed(mark):
    """Return the names in the first column of a table, without its head."""
    rows = PAGE.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0].strip().splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([\w.]+)`", row.split("|")[1])]


def subclasses(kind):
    return {kind, *(each for below in kind.__subclasses__() for each in subclasses(below))}


@pytest.mark.parametrize("name", listed("names"))
def test_a_public_name_is_there(name):
    """Each name of the page can be imported, and says what it is."""
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(module), attribute)

    assert found.__doc__


def test_public_names_are_tried_by_a_type_checker():
    """The application that mypy checks uses each public name that is no error."""
    text = (ROOT / "tests/apps/typed_app.py").read_text()
    names = {name.rpartition(".")[2] for name in listed("names")}

    assert {
        name for name in names if not re.search(rf"\b{name}\b", text) and not name.endswith("Error")
    } == set()


MODULES = [
    "pipeline",
    "pipeline.aws_lambda",
    "pipeline.doors",
    "pipeline.events",
    "pipeline.gateway",
    "pipeline.metrics",
    "pipeline.results",
    "pipeline.stores",
    "pipeline.testing",
]
"""Modules with public names."""


def test_public_names_are_in_these_modules():
    """The page has no name of another module."""
    assert {name.rpartition(".")[0] for name in listed("names")} == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_exports_what_is_public(module):
    """``__all__`` of a module holds its names on the page, in order."""
    exported = import_module(module).__all__
    ours = [
        attribute
        for name in listed("names")
        for home, _, attribute in [name.rpartition(".")]
        if home == module
    ]

    assert sorted(ours) == exported


def test_every_error_is_exported():
    """Every error of the tree can be caught by a name of the package."""
    assert {error.__name__ for error in subclasses(errors.PipelineError)} <= set(pipeline.__all__)


def test_what_is_not_exported_is_not_there():
    """A name that is not public raises what Python raises."""
    with pytest.raises(AttributeError, match="module 'pipeline' has no attribute 'uninstalled'"):
        assert pipeline.uninstalled


def test_what_of_the_claim_check_may_be_used():
    """Each attribute that the page promises is one of the class."""
    known = {*ClaimCheck.__dataclass_fields__, *vars(ClaimCheck)}

    assert set(listed("claimcheck")) <= known


def test_the_version_is_that_of_the_distribution():
    """``pipeline.__version__`` is what pyproject.toml says."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert pipeline.__version__ == declared["project"]["version"]


def test_the_docstring_of_each_public_name_is_on_the_site():
    """The page that shows docstrings names each public name once, and nothing else."""
    page = (ROOT / "docs/reference/docstrings.md").read_text()
    shown = re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)

    assert sorted([*shown, "pipeline.__version__"]) == sorted(listed("names"))

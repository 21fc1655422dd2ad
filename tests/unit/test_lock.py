"""What ``requirements/`` pins: all that the image installs, as pyproject.toml allows it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
FILES = sorted(path.stem for path in (ROOT / "requirements").iterdir())
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(name):
    """Return the requirements of a file, each on one line, without comments."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def pinned(name):
    """Return the version of each package of a file."""
    found = [Requirement(entry.partition("--hash")[0]) for entry in entries(name)]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in found}


def direct(name):
    """Return what pyproject.toml asks for, by the extras in the command of the Makefile."""
    if name == "build":
        return list(map(Requirement, PYPROJECT["build-system"]["requires"]))
    (command,) = re.findall(rf"^\t(.*) --output-file requirements/{name}\.txt$", MAKEFILE, re.MULTILINE)
    extras = re.findall(r"--extra (\w+)", command)
    optional = [each for extra in extras for each in PROJECT["optional-dependencies"][extra]]
    return list(map(Requirement, PROJECT["dependencies"] + optional))


def test_there_is_a_file_for_each_stage():
    """The image for production, the one of the demonstration, and the build of the wheel have a file each."""
    assert FILES == ["app", "build", "demo"]


@pytest.mark.parametrize("name", FILES)
def test_packages_are_pinned_with_hashes(name):
    """A file has nothing but packages with one version and their hashes: no index, address or path."""
    for entry in entries(name):
        requirement, *hashes = re.split(r"\s+(?=--hash)", entry.strip())
        (version,) = Requirement(requirement).specifier

        assert version.operator == "=="
        assert hashes, entry
        assert all(map(HASH.fullmatch, hashes)), entry


@pytest.mark.parametrize("name", FILES)
def test_direct_dependencies_are_within_their_bounds(name):
    """Each direct dependency is pinned, to a version that pyproject.toml allows."""
    versions = pinned(name)

    for each in direct(name):
        assert versions[canonicalize_name(each.name)] in each.specifier, each


def test_both_images_run_the_same_versions():
    """The image for production has a part of what the demonstration has, in the same versions."""
    assert pinned("app").items() <= pinned("demo").items()


def test_the_oldest_python_is_that_of_the_project():
    """The versions are chosen for every Python that the project supports."""
    (oldest,) = re.findall(r"--python-version (\S+)", MAKEFILE)

    assert PROJECT["requires-python"] == f">={oldest}"

"""The image that ``Dockerfile`` builds."""

import re
import shutil
import tomllib
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


INSTRUCTIONS = [
    line.split()
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def instructions(name):
    return [words for keyword, *words in INSTRUCTIONS if keyword == name]


def test_images_are_pinned():
    """Images are built on one release of Python that this project supports."""
    images = {words[0] for words in instructions("FROM")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert len(images) == 1
    tag = re.fullmatch(r"python:3\.(\d+)-slim-\w+", images.pop())
    assert tag
    assert int(tag[1]) >= int(project["requires-python"].removeprefix(">=3."))


def test_containers_are_not_root():
    """The image ends as a user with a number, who is not root."""
    assert int(instructions("USER")[-1][0]) > 0
    assert INSTRUCTIONS[-2][0] == "USER"


def test_the_image_copies_what_exists():
    """Every source of a COPY exists, and .dockerignore lets it through and nothing else."""
    sources = {source for words in instructions("COPY") if "--from" not in words[0] for source in words[:-1]}
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }

    assert sources == let_through
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_has_all_of_the_wheel():
    """Every module and package of the wheel is copied: an entry point without its module breaks pytest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = {source for words in instructions("COPY") if "--from" not in words[0] for source in words[:-1]}

    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= sources


def test_the_layer_of_dependencies_can_be_built(tmp_path):
    """The files of the first COPY make a wheel around an empty package."""
    for source in instructions("COPY")[0][:-1]:
        shutil.copy(ROOT / source, tmp_path)
    (tmp_path / "README.md").touch()
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline/__init__.py").touch()

    assert list(WheelBuilder(str(tmp_path)).build(directory=str(tmp_path / "dist")))


def test_the_image_installs_what_the_project_offers():
    """The extras that the image installs are in pyproject.toml."""
    extras = instructions("ARG")[0][0].removeprefix("EXTRAS=").split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(extras) <= project["optional-dependencies"].keys()

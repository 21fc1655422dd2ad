"""The image that ``Dockerfile`` builds."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


INSTRUCTIONS = [
    line.split()
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def instructions(name):
    return [words for keyword, *words in INSTRUCTIONS if keyword == name]


def sources():
    """Return what the image copies from the repository."""
    words = [words for words in instructions("COPY") if "--from" not in words[0]]
    return {source.replace("${FOR}", "demo") for each in words for source in each[:-1]}


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
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }

    assert {source.partition("/")[0] for source in sources()} == let_through
    assert all((ROOT / source).exists() for source in sources())


def test_the_image_has_all_of_the_wheel():
    """Every module and package of the wheel is copied: an entry point without its module breaks pytest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= sources()


def test_the_wheel_can_be_built_from_what_is_copied(tmp_path):
    """What the first stage copies is all that the wheel is made of."""
    for source in sources() - {"settings.py", "tasks"}:
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        (tmp_path / source).parent.mkdir(exist_ok=True)
        copy(ROOT / source, tmp_path / source)

    assert list(WheelBuilder(str(tmp_path)).build(directory=str(tmp_path / "dist")))


def test_the_image_installs_what_is_pinned():
    """Whatever pip downloads has a hash, and is a wheel: to build an archive would download more."""
    commands = [" ".join(words) for words in instructions("RUN")]
    installs = [command for command in commands if "pip install" in command]

    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes --only-binary=:all:" in command or "--no-deps dist/*.whl" in command


@pytest.mark.parametrize("kind", ["app", "demo"])
def test_each_kind_of_image_has_a_file_of_requirements(kind):
    """The argument FOR names one, in this repository's own commands too."""
    commands = (ROOT / "Dockerfile").read_text() + (ROOT / "deploy/deploy.mk").read_text()

    assert f"FOR={kind}" in commands
    assert (ROOT / f"requirements/{kind}.txt").is_file()

"""The workflows of GitHub Actions call what this machine can call, too."""

import json
import re
import tomllib
from importlib import resources
from itertools import product
from pathlib import Path

import pytest
import yaml
from schemas import validator

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_valid(path):
    """A workflow is valid under the schema of GitHub Actions."""
    schemas = resources.files("check_jsonschema.builtin_schemas") / "vendor"
    found = yaml.load(path.read_text(), yaml.BaseLoader)

    found["jobs"]["make"]["timeout-minutes"] = int(found["jobs"]["make"]["timeout-minutes"])
    found["jobs"]["make"]["strategy"]["fail-fast"] = False
    found["on"]["pull_request"] = None
    validator(json.loads((schemas / "github-workflows.json").read_text()))(found)


def jobs(matrix):
    """Return what a matrix runs: each target with its version of Python."""
    crossed = product(matrix["target"], matrix["python"])
    return [*crossed, *((each["target"], each["python"]) for each in matrix["include"])]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_targets_of_make(path):
    """Each step that runs something runs a target of the Makefile, or installs what its tests need."""
    job = yaml.safe_load(path.read_text())["jobs"]["make"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [step["run"] for step in job["steps"] if "run" in step]

    assert {target for target, _ in jobs(job["strategy"]["matrix"])} <= set(targets)
    assert commands == [".ci/packages", "make ${{ matrix.target }}"]
    assert (ROOT / ".ci/packages").is_file()


def test_every_supported_python_is_tested():
    """Every test runs on each version of Python that the package names, from the oldest that it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    matrix = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text())["jobs"]["make"]["strategy"]

    assert project["requires-python"] == f">={named[0]}"
    for target in ("check", "test"):
        assert set(named) <= {python for name, python in jobs(matrix["matrix"]) if name == target}

"""The workflows of GitHub Actions call what this machine can call, too."""

import json
import re
from importlib import resources
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


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_targets_of_make(path):
    """Each step that runs something runs a target of the Makefile."""
    job = yaml.safe_load(path.read_text())["jobs"]["make"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert set(job["strategy"]["matrix"]["target"]) <= set(targets)
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make ${{ matrix.target }}"]

"""CloudFormation templates under the linter of CloudFormation, which takes seconds to start."""

import subprocess
from pathlib import Path

from programs import on_path

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted((ROOT / "deploy").glob("*.yaml"))


def test_templates_are_valid():
    """CloudFormation's own linter finds nothing in the templates."""
    words = ["cfn-lint", *map(str, TEMPLATES)]
    process = subprocess.run(
        words, cwd=ROOT, env=on_path(), stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )

    assert process.returncode == 0, process.stdout

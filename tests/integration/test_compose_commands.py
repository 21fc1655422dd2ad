"""The commands of ``docker-compose.yml`` exist, as far as they can be run without Docker."""

import json
import sys
from subprocess import PIPE, run

import pytest
from compose_file import ROOT, SERVICES, command
from programs import on_path

PRINT_HELP = """
import io, json, runpy, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points

def run(words):
    sys.argv = [*(words[2:] if words[:2] == ["python", "-m"] else words), "--help"]
    if words[0] == "python":
        runpy.run_module(words[2], run_name="__main__")
    else:
        [script] = entry_points(group="console_scripts", name=words[0])
        script.load()()

for name, words in json.loads(sys.argv[1]).items():
    with redirect_stdout(io.StringIO()) as text, redirect_stderr(text):
        try:
            status = run(words)
        except SystemExit as exc:
            status = exc.code
    print(json.dumps([name, status, text.getvalue()]))
"""
"""Adds --help to each command, in one process: each alone would import Celery and boto3 again."""


@pytest.fixture(scope="module")
def answers():
    """What each command prints for ``--help``: its status and its text."""
    commands = {name: command(name) for name in SERVICES}
    words = [sys.executable, "-c", PRINT_HELP, json.dumps(commands)]
    printed = run(words, cwd=ROOT, env=on_path(), stdout=PIPE, text=True, timeout=60, check=False)
    return {name: (status, text) for name, status, text in map(json.loads, printed.stdout.splitlines())}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_commands_exist(name, answers):
    """The command of every service is one that its image has, with the options that it is given."""
    status, text = answers[name]

    assert status == 0, text
    assert text.startswith("Usage:")

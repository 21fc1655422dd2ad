"""What a worker prints with ``-l DEBUG``: neither what tasks are given nor the keys to AWS."""

import base64
import json
import os
import subprocess
import sys

import pytest
from workers import APPS

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ASKED = """
import logging

from sample_app import app

logging.getLogger("botocore").setLevel(logging.DEBUG)
"""
"""A sample that asks for botocore's own lines."""


@pytest.mark.parametrize("is_asked", [False, True], ids=["by itself", "asked"])
def test_debug_prints_neither_arguments_nor_tokens(sample_of, moto_aws, monkeypatch, tmp_path, is_asked):
    """The libraries of AWS log from INFO on, unless the application has chosen a level for them."""
    (tmp_path / "curious.py").write_text(ASKED)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session-token")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    worker = sample.worker(app="curious" if is_asked else "sample_app", options=("-l", "DEBUG"))
    assert sample.pass_on.delay("the-argument").get(timeout=30)
    worker.stop()
    text = worker.text()

    body = base64.b64encode(json.dumps(["the-argument"]).encode())
    assert ("the-session-token" in text) is is_asked
    assert "the-argument" not in text
    assert (body.decode()[4:16] in text) is is_asked
    assert "DEBUG" in text


LOUD = """
import logging

logging.basicConfig(level=logging.DEBUG)

from sample_app import app
"""
"""A sample that logs all that it can, as some applications do."""


def test_commands_print_no_tokens(sample_of, moto_aws, monkeypatch, tmp_path):
    """Commands of an application that logs at DEBUG print no tokens."""
    (tmp_path / "loud.py").write_text(LOUD)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session-token")
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims")
    path = os.pathsep.join([str(tmp_path), sample.environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pipeline", "-A", "loud", "doctor"]
    done = subprocess.run(
        command, cwd=APPS, env={**sample.environment, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert "DEBUG" in done.stderr
    assert "the-session-token" not in done.stdout + done.stderr

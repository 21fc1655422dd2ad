"""What a worker's log says in plain text: who, what and where, and only what happened."""

import subprocess
import sys

import pytest
from sample_fixtures import entered, standing_sample
from workers import APPS, eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

SECRET = "confidential"


@pytest.fixture(scope="module")
def standing(moto, tmp_path_factory):
    """A sample with a worker, on SQS; every argument goes through the store."""
    directory = tmp_path_factory.mktemp("log")
    with standing_sample(moto, directory, "threads", options={"threshold_bytes": 0}) as sample:
        yield sample


@pytest.fixture
def sample(standing, moto, monkeypatch):
    """The sample, in the environment of one test."""
    entered(moto, monkeypatch, empty=False)
    return standing


def line(sample, start):
    """Return the line of the worker's log that has this text, once it is there."""
    found = eventually(lambda: [each for each in sample.running.text().splitlines() if start in each])
    return found[0]


def test_lines_name_task_and_payload(sample):
    """Without any formatter of ours, lines name task id, task name, queue and key."""
    result = sample.digest.delay(SECRET)
    result.get(timeout=30)
    ran, released = line(sample, "task ran ["), line(sample, "payload released [")

    for text in (ran, released):
        assert f"[task_id={result.id}, task_name=sample_app.digest, queue={sample.queue}, attempt=0" in text
        assert "claim_key=claims/v1/" in text
    assert "state=SUCCESS, rehydrate=" in ran


def test_the_broker_is_shown_as_its_url(sample):
    """The worker's banner and its first line name the broker as its owner did."""
    assert ".> transport:   sqs://" in sample.running.text()
    assert "Connected to sqs://" in sample.running.text()
    assert "pipeline.transport" not in sample.running.text()


def test_a_report_shows_the_broker_as_its_url(sample):
    """``celery report`` names the broker as its owner did."""
    command = [sys.executable, "-m", "celery", "-A", "sample_app", "report"]
    done = subprocess.run(
        command, cwd=APPS, env=sample.environment, capture_output=True, text=True, check=False
    )

    assert "broker_url: 'sqs://" in done.stdout, done.stderr
    assert "transport:claimcheck-sqs results:" in done.stdout
    assert "pipeline.transport" not in done.stdout


def test_an_unknown_task_is_not_said_to_be_discarded(sample):
    """The log names an unknown task and what happens to its message, and does not say "discarded"."""
    task_id = sample.app.send_task("sample_app.of_tomorrow", [SECRET]).id
    text = line(sample, "task not run, it is not registered in this worker, and its message goes back")

    assert f"task_id={task_id}, task_name=sample_app.of_tomorrow" in text
    assert "discarded" not in sample.running.text()
    assert SECRET not in sample.running.text()

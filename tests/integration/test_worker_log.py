"""What a worker's log says in plain text: who, what and where, and only what happened."""

import subprocess
import sys

import pytest
from shops import entered, standing_shop
from workers import TESTS, eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

SECRET = "confidential"


@pytest.fixture(scope="module")
def standing(moto, tmp_path_factory):
    """A shop with a worker, on SQS; every argument goes through the store."""
    directory = tmp_path_factory.mktemp("log")
    with standing_shop(moto, directory, "threads", options={"threshold_bytes": 0}) as shop:
        yield shop


@pytest.fixture
def shop(standing, moto, monkeypatch):
    """The shop, in the environment of one test."""
    entered(moto, monkeypatch, empty=False)
    return standing


def line(shop, start):
    """Return the line of the worker's log that has this text, once it is there."""
    found = eventually(lambda: [each for each in shop.running.text().splitlines() if start in each])
    return found[0]


def test_lines_name_task_and_payload(shop):
    """Without any formatter of ours, lines name task id, task name, queue and key."""
    result = shop.digest.delay(SECRET)
    result.get(timeout=30)
    ran, released = line(shop, "task ran ["), line(shop, "payload released [")

    for text in (ran, released):
        assert f"[task_id={result.id}, task_name=shop.digest, queue={shop.queue}, attempt=0" in text
        assert "claim_key=claims/v1/" in text
    assert "state=SUCCESS, rehydrate=" in ran


def test_the_broker_is_shown_as_its_url(shop):
    """The worker's banner and its first line name the broker as its owner did."""
    assert ".> transport:   sqs://" in shop.running.text()
    assert "Connected to sqs://" in shop.running.text()
    assert "pipeline.transport" not in shop.running.text()


def test_a_report_shows_the_broker_as_its_url(shop):
    """``celery report`` names the broker as its owner did."""
    command = [sys.executable, "-m", "celery", "-A", "shop", "report"]
    done = subprocess.run(
        command, cwd=TESTS, env=shop.environment, capture_output=True, text=True, check=False
    )

    assert "broker_url: 'sqs://" in done.stdout, done.stderr
    assert "transport:claimcheck-sqs results:" in done.stdout
    assert "pipeline.transport" not in done.stdout


def test_an_unknown_task_is_not_said_to_be_discarded(shop):
    """A task that the worker does not know is named, with what becomes of its message, and nothing else."""
    task_id = shop.app.send_task("shop.of_tomorrow", [SECRET]).id
    text = line(shop, "task not run, it is not registered in this worker, and its message goes back")

    assert f"task_id={task_id}, task_name=shop.of_tomorrow" in text
    assert "discarded" not in shop.running.text()
    assert SECRET not in shop.running.text()

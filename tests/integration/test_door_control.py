"""Tasks behind a door are watched and controlled as any other: events, revocation, time limits."""

import subprocess
import sys

import pytest
from celery.exceptions import TimeLimitExceeded
from sample_fixtures import cleared, standing_sample
from workers import APPS, eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

CONF = {
    "worker_enable_remote_control": True,
    "worker_send_task_events": True,
    "worker_prefetch_multiplier": 2,
    "task_time_limit": 10,
    "broker_transport_options": {"visibility_timeout": 30, "wait_time_seconds": 1, "polling_interval": 0.1},
}


@pytest.fixture(scope="module")
def standing(ministack, tmp_path_factory):
    """A worker with two processes behind a door, which makes each message a nap of so many seconds."""
    folder = tmp_path_factory.mktemp("door-control")
    doors = [("SHOP_DOORS", "uploads")]
    with standing_sample(ministack, folder, "prefork", doors, ["naps"], "doors_app", conf=CONF) as sample:
        yield sample


@pytest.fixture
def sample(standing, ministack, monkeypatch):
    return cleared(standing, ministack, monkeypatch)


@pytest.fixture
def inspect(sample):
    return sample.app.control.inspect(timeout=20, limit=1)


def send(sample, seconds):
    url = sample.aws.url_of(f"{sample.queue}-naps")
    sample.aws.client("sqs").send_message(QueueUrl=url, MessageBody=str(seconds))


def depth(sample):
    return sum(sum(sample.aws.depth(f"{sample.queue}-naps{suffix}")) for suffix in ("", "-dlq"))


def only(replies):
    """Return what the one worker shows: the ids of its tasks."""
    [shown] = replies.values()
    return [each["id"] for each in shown]


def state(sample, task_id):
    return sample.app.AsyncResult(task_id).state


def test_a_running_task_is_terminated(sample, inspect):
    """The task is found by ``inspect``, ended with its process, and its message is gone."""
    send(sample, 100)
    eventually(sample.notes)
    [task_id] = only(inspect.active())
    sample.app.control.revoke(task_id, terminate=True, signal="SIGKILL")

    eventually(lambda: state(sample, task_id) == "REVOKED")
    eventually(lambda: depth(sample) == 0)


def test_a_waiting_task_is_revoked(sample, inspect):
    """A task that waits behind others never begins, and its message is gone."""
    for _ in range(2):
        send(sample, 4)
    eventually(lambda: len(sample.notes()) == 2)
    send(sample, 0)
    [task_id] = eventually(lambda: only(inspect.reserved()))
    sample.app.control.revoke(task_id)

    eventually(lambda: state(sample, task_id) == "REVOKED")
    eventually(lambda: depth(sample) == 0)
    assert len(sample.notes()) == 2


def test_a_time_limit_ends_a_task(sample, inspect):
    """A hard time limit is a recorded failure, and the message is gone."""
    send(sample, 100)
    eventually(sample.notes)
    [task_id] = only(inspect.active())
    eventually(lambda: state(sample, task_id) == "FAILURE")

    assert isinstance(sample.app.AsyncResult(task_id).result, TimeLimitExceeded)
    eventually(lambda: depth(sample) == 0)


def test_monitors_get_its_events(sample, tmp_path):
    """A monitor such as Flower sees the task from its arrival to its end."""
    log = tmp_path / "events"
    command = [sys.executable, "-u", "-m", "celery", "-A", "doors_app", "events", "--dump"]
    with log.open("wb") as file:
        listener = subprocess.Popen(command, cwd=APPS, env=sample.environment, stdout=file, stderr=file)
    try:
        eventually(lambda: "heartbeat" in log.read_text())
        send(sample, 0)
        for event in ("received", "started", "succeeded"):
            eventually(lambda event=event: f"task {event}" in log.read_text(), message=log.read_text())
        assert "sample_app.nap" in log.read_text()
    finally:
        listener.terminate()
        listener.wait(20)

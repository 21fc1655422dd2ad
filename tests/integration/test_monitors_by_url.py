"""Monitors that know no app: the transport's own URL is all that they are given."""

import subprocess
import sys
import urllib.request

import pytest
from programs import printed_by
from workers import eventually

from pipeline.local import free_port
from pipeline.serializer.entry_point import ALIAS

pytestmark = pytest.mark.aws

URL = f"{ALIAS}://"


@pytest.fixture
def watched(shop_of, moto_aws):
    """A shop whose worker sends events and hears commands."""
    return shop_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        conf={"worker_enable_remote_control": True, "worker_send_task_events": True},
    )


@pytest.fixture
def started(watched, tmp_path):
    """Start Celery's command with nothing but the URL, in an empty folder; ``said()`` is what it printed."""
    running = []

    def start(*words):
        log = tmp_path / "said"
        with log.open("wb") as file:
            command = [sys.executable, "-m", "celery", "-b", URL, *words]
            environment = {
                **watched.environment,
                "FLOWER_UNAUTHENTICATED_API": "true",
                "PYTHONUNBUFFERED": "1",
            }
            running.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file))
        return log.read_text

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


@pytest.mark.worker
def test_events_are_shown_by_url_alone(watched, started):
    """``celery -b claimcheck-sqs:// events`` shows each event of a task that a worker runs."""
    watched.worker(pool="threads")
    said = started("events", "--dump")
    eventually(lambda: "heartbeat" in said(), 60)
    result = watched.echo.delay("x")

    assert result.get(timeout=30) == "x"
    eventually(lambda: "succeeded" in said(), 30)
    assert result.id in said()


@pytest.mark.worker
def test_flower_and_inspect_work_by_url_alone(watched, started):
    """Flower lists the worker and its tasks, and ``inspect ping`` is answered."""
    watched.worker(pool="threads")
    port = free_port()
    said = started("flower", f"--port={port}")

    def page(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.read().decode()
        except OSError:
            return ""

    eventually(lambda: "celery@" in page("/api/workers"), 60)
    result = watched.echo.delay("x")
    assert result.get(timeout=30) == "x"
    eventually(lambda: '"state": "SUCCESS"' in page(f"/api/task/info/{result.id}"), 30)
    assert "Traceback" not in said()
    command = [sys.executable, "-m", "celery", "-b", URL, "inspect", "ping", "--timeout=10"]
    done = subprocess.run(command, env=watched.environment, capture_output=True, text=True, check=False)
    assert "pong" in done.stdout


EXPORTER = """
from celery import Celery

app = Celery(broker="claimcheck-sqs://")
with app.connection() as connection:
    def show(event):
        print(event["type"], flush=True)
        receiver.should_stop = event["type"] == "task-succeeded"

    receiver = app.events.Receiver(connection, handlers={"*": show})
    receiver.capture(limit=None, timeout=None, wakeup=True)
"""
"""What celery-exporter does to receive events."""


@pytest.mark.worker
def test_an_exporter_receives_events_by_url_alone(watched, tmp_path):
    """An app that is made of the URL alone has an event receiver that receives, as exporters use it."""
    watched.worker(pool="threads")
    log = tmp_path / "said"
    with log.open("wb") as file:
        command = [sys.executable, "-c", EXPORTER]
        exporter = subprocess.Popen(command, cwd=tmp_path, env=watched.environment, stdout=file, stderr=file)
    eventually(lambda: "worker-" in log.read_text(), 60)
    assert watched.echo.delay("x").get(timeout=30) == "x"
    exporter.wait(30)

    kinds = [line for line in log.read_text().split() if line.startswith("task-")]
    assert kinds == ["task-received", "task-started", "task-succeeded"]


def test_the_url_is_an_alias_and_replaces_none():
    """A program that has Kombu loads it with Kombu's serializers, and ``sqs`` stays Kombu's."""
    printed = printed_by(
        """
        import kombu.serialization
        from kombu import Connection
        from kombu.transport import TRANSPORT_ALIASES
        print(Connection("claimcheck-sqs://").get_transport_cls().__module__, TRANSPORT_ALIASES["sqs"])
        """
    )

    assert printed.split() == ["pipeline.transport.channel", "kombu.transport.SQS:Transport"]

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
CELERY = (sys.executable, "-m", "celery", "-b", URL)
EXPORTER = (sys.executable, "-m", "celery_prometheus_exporter", f"--broker={URL}")


@pytest.fixture
def watched(sample_of, moto_aws):
    """A sample whose worker sends events and receives commands."""
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        conf={"worker_enable_remote_control": True, "worker_send_task_events": True},
    )


@pytest.fixture
def started(watched, tmp_path):
    """Start a monitor in an empty folder, with the environment of AWS; ``said()`` is what it printed."""
    running = []

    def start(*command):
        log = tmp_path / "said"
        with log.open("wb") as file:
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


def page(port, path):
    """Return what a monitor shows, or nothing if it does not listen yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.read().decode()
    except OSError:
        return ""


@pytest.mark.worker
def test_events_are_shown_by_url_alone(watched, started):
    """``celery -b claimcheck-sqs:// events`` shows each event of a task that a worker runs."""
    watched.worker(pool="threads")
    said = started(*CELERY, "events", "--dump")
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
    said = started(*CELERY, "flower", f"--port={port}")
    eventually(lambda: "celery@" in page(port, "/api/workers"), 60)
    result = watched.echo.delay("x")
    assert result.get(timeout=30) == "x"
    eventually(lambda: '"state": "SUCCESS"' in page(port, f"/api/task/info/{result.id}"), 30)
    assert "Traceback" not in said()
    command = [*CELERY, "inspect", "ping", "--timeout=10"]
    done = subprocess.run(command, env=watched.environment, capture_output=True, text=True, check=False)
    assert "pong" in done.stdout


@pytest.mark.worker
def test_an_exporter_counts_by_url_alone(watched, started):
    """celery-prometheus-exporter counts workers that answer, waiting messages, and tasks by their events."""
    watched.worker(pool="threads")
    watched.echo.apply_async(("x",), queue="later")
    port = free_port()
    said = started(*EXPORTER, f"--addr=127.0.0.1:{port}", "--queue-list", "later")

    def counted(sample):
        return sample in page(port, "/metrics")

    def ran_and_counted():  # again and again: events are for those who have subscribed
        assert watched.echo.delay("x").get(timeout=30) == "x"
        return counted('celery_tasks_runtime_seconds_count{name="sample_app.echo"}')

    eventually(lambda: counted("celery_workers 1.0"), 60)
    eventually(ran_and_counted, 90)
    assert counted('celery_queue_length{queue_name="later"} 1.0')
    assert "Traceback" not in said()


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

    assert printed.split() == ["pipeline.transport.transport", "kombu.transport.SQS:Transport"]

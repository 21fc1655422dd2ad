"""The servers that stand in for AWS and Redis start, reset, stop and report as other tests expect."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from click.testing import CliRunner
from proxy_calls import LIST_BUCKETS
from standins import AWS, running

from pipeline import local
from pipeline.cli import main
from pipeline.local import EmbeddedAWS, Server, free_port

pytestmark = pytest.mark.aws

RETURN_CODE = "import sys; print('no luck'); sys.exit(3)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Script(Server):
    """A few lines of Python that are up once they have printed so."""

    name = "script"

    def __init__(self, text):
        super().__init__()
        self.text = text

    def command(self):
        return [sys.executable, "-c", self.text]

    def answers(self):
        return self.log() == "up\n"


class Absent(Script):
    def command(self):
        return ["/nowhere/absent"]


def test_a_stand_in_forgets_on_reset(aws, request):
    """Reset takes every bucket and every queue with it."""
    aws.bucket()
    aws.queue(VisibilityTimeout=7)
    request.getfixturevalue(aws.name).reset()

    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert aws.client("sqs").list_queues().get("QueueUrls", []) == []


def test_redis_forgets_on_reset(redis_server):
    """Redis answers, and its reset takes every key with it."""
    assert redis_server.say("SET key value") == "+OK"
    redis_server.reset()
    assert redis_server.say("DBSIZE") == ":0"


def test_the_environment_leads_children_to_the_stand_in(aws):
    """A child process that inherits the environment finds the stand-in, and nothing else."""
    bucket = aws.bucket()
    command = [sys.executable, "-c", LIST_BUCKETS]

    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == bucket


def test_a_test_sees_nothing_of_the_developers_settings():
    """Without a stand-in the environment leads nowhere at all."""
    ours = {name for name in os.environ if name.startswith(("AWS_", "CELERY_", "CLAIMCHECK_"))}
    assert ours == set(local.ISOLATION)


def test_a_server_that_ends_is_explained_by_its_log():
    """A server that ends at once raises its status and the end of its log."""
    with pytest.raises(RuntimeError, match="script ended with status 3:\nno luck"):
        Script(RETURN_CODE).start()


def test_a_server_that_does_not_answer_is_ended(monkeypatch):
    """A server that never answers is killed, even if it ignores the request to end."""
    monkeypatch.setattr(local, "START_SECONDS", 1.0)
    monkeypatch.setattr(local, "STOP_SECONDS", 0.1)
    mute = Script(STUBBORN.replace("up", "not quite"))
    with pytest.raises(RuntimeError, match=r"script did not answer on http://[\d.:]+:\nnot quite"):
        mute.start()

    assert mute.pid is None
    assert mute.log() == ""


def test_a_server_is_ended_by_its_pid():
    """Leaving the block ends the very process that was started, and stopping again is harmless."""
    with Script("import time; print('up', flush=True); time.sleep(60)") as server:
        process = psutil.Process(server.pid)
        assert process.is_running()

    server.stop()
    assert not process.is_running()


def test_a_server_defines_its_command_and_its_probe():
    """A ``Server`` subclass must define its command and its readiness check."""
    with pytest.raises(NotImplementedError):
        Server().command()
    with pytest.raises(NotImplementedError):
        Server().answers()


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_an_absent_server_skips_here_and_fails_in_ci(monkeypatch, ci, outcome):
    """A program that is not installed skips its tests, except where CI is set."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="script is not installed"):
        next(running(Absent("")))


def test_the_embedded_aws_serves_boto3():
    """The embedded AWS runs our own command, and its environment leads there."""
    with EmbeddedAWS() as embedded:
        AWS("embedded", embedded.url).bucket()
        environment = {**os.environ, **embedded.environment()}
        command = [sys.executable, "-c", LIST_BUCKETS]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

        assert found.stdout.startswith("bucket-")
        assert embedded.log().startswith(f"export AWS_ENDPOINT_URL={embedded.url} AWS_ACCESS_KEY_ID=")
        assert embedded.log().count("\n") == 1
        embedded.reset()
        assert AWS("embedded", embedded.url).client("s3").list_buckets()["Buckets"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_local_command_ends_cleanly(number):
    """Ctrl-C and SIGTERM end ``pipeline local`` with status 0 and without a traceback."""
    with EmbeddedAWS() as embedded:
        os.kill(embedded.pid, number)

        assert embedded._process.wait(10) == 0
        assert "Traceback" not in embedded.log()


def test_the_local_command_names_the_missing_extra(monkeypatch):
    """Without moto, ``pipeline local`` says how to install it."""
    monkeypatch.setitem(sys.modules, "moto.moto_server", None)
    result = CliRunner().invoke(main.main, ["local", "--port", str(free_port())])

    assert result.exit_code == 2
    assert "pip install 'celery-claimcheck-pipeline[local]'" in result.output


def test_the_local_command_names_the_taken_port():
    """On a port that is taken, ``pipeline local`` says so and promises nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main.main, ["local", "--port", str(port)])

    assert result.exit_code == 2
    assert result.output.startswith(f"Error: cannot listen on 127.0.0.1:{port}: Address already in use")

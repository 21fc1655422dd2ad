"""Remote control over SNS and SQS: commands reach real workers, replies come back, nothing is left behind."""

import json
import subprocess
import sys

import pytest
from celery import uuid
from celery.utils.nodenames import default_nodename
from kombu import pools
from sample_fixtures import standing_sample
from standins import AWS
from workers import APPS, eventually

import pipeline

pytestmark = [pytest.mark.aws, pytest.mark.worker]

CONF = {
    "worker_enable_remote_control": True,
    "broker_transport_options": {"visibility_timeout": 30, "wait_time_seconds": 5, "polling_interval": 0},
}
LISTENER = "claimcheck-listener-"


@pytest.fixture(scope="module")
def standing(moto, tmp_path_factory):
    """A sample with a worker, for all tests of this page; every argument goes through the store."""
    folder = tmp_path_factory.mktemp("control")
    with standing_sample(moto, folder, "prefork", conf=CONF, options={"threshold_bytes": 0}) as sample:
        yield sample


@pytest.fixture
def sample(standing, monkeypatch):
    """The standing sample, with the environment that it was made in."""
    for name, value in standing.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    standing.clear()
    return standing


@pytest.fixture
def inspect(sample):
    return sample.app.control.inspect(timeout=20, limit=1)


def only(replies):
    """Return the one worker's reply."""
    assert replies, "no worker has answered"
    [reply] = replies.values()
    return reply


def control(sample, command, **options):
    """Send a command, and return the one worker's reply."""
    [reply] = getattr(sample.app.control, command)(**options, reply=True, timeout=20, limit=1)
    return only(reply)


def urls(server):
    """Return where listeners' queues are."""
    sqs = AWS(server.name, server.url).client("sqs")
    return sqs.list_queues(QueueNamePrefix=LISTENER).get("QueueUrls", [])


@pytest.mark.parametrize(
    "command",
    [
        "active",
        "active_queues",
        "clock",
        "conf",
        "memdump",
        "memsample",
        "ping",
        "registered",
        "report",
        "reserved",
        "revoked",
        "scheduled",
        "stats",
    ],
)
def test_every_question_is_answered(inspect, command):
    """Each ``celery inspect`` command gets the worker's reply."""
    assert only(getattr(inspect, command)()) is not None


def test_a_reply_queue_that_is_not_there_yet(sample, moto, proxy_to, monkeypatch):
    """Whoever asks does not wait until its queue is there, and gets the reply all the same."""
    proxy = proxy_to(moto.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    absent = b'{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no"}'
    proxy.fail("ReceiveMessage", times=2, status=400, content=absent)
    with sample.app.connection_for_write() as connection:
        [reply] = sample.app.control.ping(connection=connection, timeout=30, limit=1)

    assert only(reply) == {"ok": "pong"}
    assert proxy.operations["CreateQueue"] == 1
    pools.reset()  # later tests do not use the proxy
    sample.app._after_fork()


def test_a_running_task_is_shown(sample, inspect):
    """``active`` and ``query_task`` show a task that runs, and ``revoked`` nothing of it."""
    result = sample.hold.delay("x")
    eventually(sample.notes)

    assert [task["id"] for task in only(inspect.active())] == [result.id]
    assert only(inspect.query_task(result.id))[result.id][0] == "active"
    assert result.id not in only(inspect.revoked())
    sample.note("go on")
    assert result.get(timeout=30) == 1


def test_limits_change(sample):
    """Rate and time limits of a task are set by command."""
    limited = control(sample, "rate_limit", task_name="sample_app.echo", rate_limit="100/s")
    timed = control(sample, "time_limit", task_name="sample_app.echo", hard=20, soft=10)

    assert limited == {"ok": "new rate limit set successfully"}
    assert timed == {"ok": "time limits set successfully"}


def test_the_pool_grows_and_shrinks(sample, inspect):
    """The number of child processes follows the command."""

    def count():
        return len(only(inspect.stats())["pool"]["processes"])

    before = count()
    control(sample, "pool_grow", n=1)
    eventually(lambda: count() == before + 1)
    control(sample, "pool_shrink", n=1)

    eventually(lambda: count() == before)


def test_consumers_come_and_go(sample, inspect):
    """A queue that is added is consumed, and one that is cancelled is not."""
    control(sample, "add_consumer", queue="second")
    eventually(lambda: "second" in [queue["name"] for queue in only(inspect.active_queues())])
    assert sample.echo.apply_async(("x",), queue="second").get(timeout=30) == "x"
    control(sample, "cancel_consumer", queue="second")

    eventually(lambda: "second" not in [queue["name"] for queue in only(inspect.active_queues())])


def test_a_revoked_task_does_not_run(sample, inspect):
    """A task that is revoked before it comes ends as revoked, and its payload is released."""
    task_id = uuid()
    sample.app.control.revoke(task_id)
    eventually(lambda: task_id in only(inspect.revoked()))
    result = sample.nap.apply_async(("x", 1), task_id=task_id)

    eventually(lambda: result.state == "REVOKED")
    sample.eventually_empty()
    assert sample.notes() == []


@pytest.mark.parametrize("countdown", [0, 3])
def test_a_revoked_task_ends_its_use_of_a_shared_value(sample, inspect, countdown):
    """A member that is revoked before it comes, or while its worker waits for its ETA, is an end."""
    shared, task_id = pipeline.shared(["x"], uses=2), uuid()
    if countdown:
        result = sample.nap.apply_async((shared, 1), task_id=task_id, countdown=countdown)
    sample.app.control.revoke(task_id)
    eventually(lambda: task_id in only(inspect.revoked()))
    if not countdown:
        result = sample.nap.apply_async((shared, 1), task_id=task_id)
    eventually(lambda: result.state == "REVOKED")

    assert sample.nap.delay(shared, 0).get(timeout=30) == 1
    sample.eventually_empty()
    assert sample.notes() == ["napping"]


def test_a_running_task_is_terminated(sample):
    """A revoked task that runs is ended with its process, and its payload is released."""
    result = sample.nap.delay("x", 60)
    eventually(sample.notes)
    result.revoke(terminate=True, signal="SIGKILL")

    eventually(lambda: result.state == "REVOKED")
    sample.eventually_empty()


def test_commands_do_not_go_through_the_store(sample, moto, inspect):
    """With a threshold of 0 a task's body is offloaded, and a command and its reply still are plain JSON."""
    before = sample.objects()

    assert sample.app.control.mailbox.serializer == "json"
    assert len(only(inspect.registered())) > 20
    assert sample.objects() == before


def test_one_reply_queue_serves_many_questions(inspect, moto):
    """A connection uses one reply queue for all questions, since SQS blocks the name of a deleted queue."""
    inspect.ping()
    before = urls(moto)
    for _ in range(3):
        assert inspect.ping()

    assert urls(moto) == before


def test_the_command_line_works(sample, moto):
    """``celery status`` finds the worker, and leaves no queue behind."""
    before = urls(moto)
    asked = ["--destination", default_nodename(None), "--timeout", "30"]
    command = [sys.executable, "-m", "celery", "-A", "sample_app", "status", "--json", *asked]
    ran = subprocess.run(
        command, cwd=APPS, env=sample.environment, capture_output=True, text=True, check=True, timeout=60
    )

    assert list(json.loads(ran.stdout.splitlines()[0]).values()) == [{"ok": "pong"}]
    assert urls(moto) == before

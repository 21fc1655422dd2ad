"""Events and remote control over SNS and SQS: what monitors need, by Celery's own commands."""

import signal
import subprocess
import sys
from time import sleep

import pytest
from celery.utils.nodenames import default_nodename
from sample_fixtures import entered
from workers import APPS, eventually

from pipeline.transport.fanout.events import GATHER_SECONDS

pytestmark = [pytest.mark.aws, pytest.mark.worker]

SECRET = "confidential"
CONF = {
    "worker_enable_remote_control": True,
    "worker_send_task_events": True,
    "broker_transport_options": {"visibility_timeout": 30, "wait_time_seconds": 1, "polling_interval": 0.1},
}
ASKED = ("--destination", default_nodename(None), "--timeout", "30")
"""Options to wait for one answer, and not a second longer."""
DENIED = b"<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code></Error></ErrorResponse>"


@pytest.fixture
def sample(sample_of, ministack, monkeypatch, proxy_to):
    """A sample with remote control and events, whose every call is recorded."""
    aws = entered(ministack, monkeypatch)
    proxy = proxy_to(aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    made = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=CONF)
    made.aws, made.proxy = aws, proxy
    return made


def celery(sample, *words):
    """Run one of Celery's commands, and return what it says."""
    command = [sys.executable, "-m", "celery", "-A", "sample_app", *words]
    ran = subprocess.run(
        command, cwd=APPS, env=sample.environment, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def listen(sample, log):
    """Start a listener that writes down every event."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "celery", "-A", "sample_app", "events", "--dump"],
            cwd=APPS, env=sample.environment, stdout=file, stderr=file,
        )  # fmt: skip


def listeners(sample):
    """Return the names of the listeners' queues."""
    urls = sample.aws.client("sqs").list_queues(QueueNamePrefix="claimcheck-listener").get("QueueUrls", [])
    return [url.rpartition("/")[2] for url in urls]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_workers_answer(sample, pool):
    """Workers answer each question of ``inspect`` without arguments, and ``status`` lists them."""
    worker = sample.worker(pool=pool)
    running = sample.nap.delay(SECRET, 100)
    eventually(sample.notes)
    inspect = sample.app.control.inspect(timeout=20, limit=1)
    for question, answer in {
        "active": "bytes in claims/v1/", "registered": "sample_app.digest", "stats": "total",
        "conf": "celery",
        "active_queues": "shop-", "reserved": "[]", "scheduled": "[]", "revoked": "[]", "report": "kombu",
        "clock": "clock", "ping": "pong",
    }.items():  # fmt: skip
        said = repr(getattr(inspect, question)())
        assert answer in said, (question, said)
        assert SECRET not in said
    assert "active" in repr(inspect.query_task(running.id))
    assert "1 node online" in celery(sample, "status", *ASKED)
    worker.process.kill()  # its task would go on


def test_workers_obey(sample):
    """Commands of ``control`` do what they do over Redis."""
    worker = sample.worker(pool="prefork")
    before = len(worker.children())
    sample.app.control.pool_grow(1)
    eventually(lambda: len(worker.children()) == before + 1)
    sample.app.control.pool_shrink(1)
    eventually(lambda: len(worker.children()) == before)
    assert "new rate limit set" in celery(sample, "control", *ASKED, "rate_limit", "sample_app.echo", "100/s")
    assert "time limits set" in celery(sample, "control", *ASKED, "time_limit", "sample_app.nap", "60", "90")
    assert "add consumer" in celery(sample, "control", *ASKED, "add_consumer", "more")
    assert sample.echo.apply_async(("x",), queue="more").get(timeout=30) == "x"
    assert "no longer consuming" in celery(sample, "control", *ASKED, "cancel_consumer", "more")
    running = sample.nap.delay("x", 60)
    eventually(sample.notes)
    running.revoke(terminate=True, signal="SIGKILL")
    eventually(lambda: running.state == "REVOKED")
    sample.app.control.shutdown()
    eventually(lambda: worker.process.poll() is not None)


def test_events_arrive_and_the_listener_leaves_nothing(sample, tmp_path):
    """A listener receives each task's events without payload text, in few calls, and leaves no queue."""
    worker = sample.worker(pool="prefork")
    before = set(listeners(sample))
    log = tmp_path / "events"
    listener = listen(sample, log)
    eventually(lambda: set(listeners(sample)) - before)
    eventually(lambda: "heartbeat" in log.read_text())
    published = sample.proxy.operations["Publish"]
    results = [sample.echo.delay(SECRET) for _ in range(100)]
    assert {result.get(timeout=60) for result in results} == {SECRET}
    eventually(lambda: log.read_text().count("task succeeded") == 100, message=log.read_text()[-2000:])
    assert SECRET not in log.read_text()
    assert log.read_text().count("<not shown>") >= 100
    assert SECRET not in worker.text()
    assert worker.text().count("s: <not shown>") == 100
    assert sample.proxy.operations["Publish"] - published < 40
    listener.send_signal(signal.SIGINT)
    listener.wait(20)
    eventually(lambda: set(listeners(sample)) == before)


def test_a_killed_listener_stops_no_other(sample, tmp_path):
    """Tasks go on, and what its queue piles up is what one minute brings."""
    sample.worker(pool="threads")
    before = set(listeners(sample))
    listener = listen(sample, tmp_path / "events")
    left = eventually(lambda: set(listeners(sample)) - before)
    listener.kill()
    listener.wait()

    assert [sample.echo.delay(number).get(timeout=60) for number in range(5)] == list(range(5))
    sample.eventually_empty()
    assert sample.aws.attributes(left.pop())["MessageRetentionPeriod"] == "60"


def test_without_permission_tasks_go_on(sample):
    """Each worker warns once when SNS denies its calls, and its tasks run."""
    for name in ("CreateTopic", "Publish", "Subscribe"):
        sample.proxy.fail(name, status=403, content=DENIED)
    worker = sample.worker(pool="prefork")

    assert [sample.echo.delay(number).get(timeout=60) for number in range(5)] == list(range(5))
    sample.eventually_empty()
    assert worker.text().count("remote control does not work") == 1
    assert "Traceback" not in worker.text()


def test_a_topic_that_is_deleted_is_made_again(sample):
    """Tasks do not notice, and events find their way again."""
    sample.worker(pool="threads")
    sns = sample.aws.client("sns")
    for topic in sns.list_topics()["Topics"]:
        sns.delete_topic(TopicArn=topic["TopicArn"])

    assert sample.echo.delay("x").get(timeout=60) == "x"
    sample.eventually_empty()


def test_without_events_nothing_is_published(sample_of, ministack, monkeypatch, proxy_to):
    """A worker with events and remote control off calls SNS not once."""
    aws = entered(ministack, monkeypatch)
    proxy = proxy_to(aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    sample = sample_of(store=f"s3://{aws.bucket()}/claims")
    sample.worker(pool="threads", options=("--without-heartbeat",))

    assert sample.echo.delay("x").get(timeout=60) == "x"
    sleep(GATHER_SECONDS + 1)
    assert not {"Publish", "CreateTopic", "Subscribe", "GetTopicAttributes"} & set(proxy.operations)

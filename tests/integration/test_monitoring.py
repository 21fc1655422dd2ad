"""Events and remote control over SNS and SQS: what monitors need, by Celery's own commands."""

import signal
import subprocess
import sys
from time import sleep

import pytest
from celery.utils.nodenames import default_nodename
from shops import entered
from workers import TESTS, eventually

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
def shop(shop_of, ministack, monkeypatch, proxy_to):
    """A shop with remote control and events, whose every call is written down."""
    aws = entered(ministack, monkeypatch)
    proxy = proxy_to(aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    made = shop_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0}, conf=CONF)
    made.aws, made.proxy = aws, proxy
    return made


def celery(shop, *words):
    """Run one of Celery's commands, and return what it says."""
    command = [sys.executable, "-m", "celery", "-A", "shop", *words]
    ran = subprocess.run(
        command, cwd=TESTS, env=shop.environment, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def listen(shop, log):
    """Start a listener that writes down every event."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "celery", "-A", "shop", "events", "--dump"],
            cwd=TESTS, env=shop.environment, stdout=file, stderr=file,
        )  # fmt: skip


def listeners(shop):
    """Return the names of the listeners' queues."""
    urls = shop.aws.client("sqs").list_queues(QueueNamePrefix="claimcheck-listener").get("QueueUrls", [])
    return [url.rpartition("/")[2] for url in urls]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_workers_answer(shop, pool):
    """Each question of ``inspect`` is answered, without arguments, and ``status`` knows who is there."""
    worker = shop.worker(pool=pool)
    running = shop.nap.delay(SECRET, 100)
    eventually(shop.notes)
    inspect = shop.app.control.inspect(timeout=20, limit=1)
    for question, answer in {
        "active": "bytes in claims/v1/", "registered": "shop.digest", "stats": "total", "conf": "celery",
        "active_queues": "shop-", "reserved": "[]", "scheduled": "[]", "revoked": "[]", "report": "kombu",
        "clock": "clock", "ping": "pong",
    }.items():  # fmt: skip
        said = repr(getattr(inspect, question)())
        assert answer in said, (question, said)
        assert SECRET not in said
    assert "active" in repr(inspect.query_task(running.id))
    assert "1 node online" in celery(shop, "status", *ASKED)
    worker.process.kill()  # its task would go on


def test_workers_obey(shop):
    """Commands of ``control`` do what they do over Redis."""
    worker = shop.worker(pool="prefork")
    before = len(worker.children())
    shop.app.control.pool_grow(1)
    eventually(lambda: len(worker.children()) == before + 1)
    shop.app.control.pool_shrink(1)
    eventually(lambda: len(worker.children()) == before)
    assert "new rate limit set" in celery(shop, "control", *ASKED, "rate_limit", "shop.echo", "100/s")
    assert "time limits set" in celery(shop, "control", *ASKED, "time_limit", "shop.nap", "60", "90")
    assert "add consumer" in celery(shop, "control", *ASKED, "add_consumer", "more")
    assert shop.echo.apply_async(("x",), queue="more").get(timeout=30) == "x"
    assert "no longer consuming" in celery(shop, "control", *ASKED, "cancel_consumer", "more")
    running = shop.nap.delay("x", 60)
    eventually(shop.notes)
    running.revoke(terminate=True, signal="SIGKILL")
    eventually(lambda: running.state == "REVOKED")
    shop.app.control.shutdown()
    eventually(lambda: worker.process.poll() is not None)


def test_events_are_heard_and_the_listener_leaves_nothing(shop, tmp_path):
    """A listener hears of each task and of no argument's or result's text, for few calls; it leaves none."""
    worker = shop.worker(pool="prefork")
    before = set(listeners(shop))
    log = tmp_path / "events"
    listener = listen(shop, log)
    eventually(lambda: set(listeners(shop)) - before)
    eventually(lambda: "heartbeat" in log.read_text())
    published = shop.proxy.operations["Publish"]
    results = [shop.echo.delay(SECRET) for _ in range(100)]
    assert {result.get(timeout=60) for result in results} == {SECRET}
    eventually(lambda: log.read_text().count("task succeeded") == 100, message=log.read_text()[-2000:])
    assert SECRET not in log.read_text()
    assert log.read_text().count("<not shown>") >= 100
    assert SECRET not in worker.text()
    assert worker.text().count("s: <not shown>") == 100
    assert shop.proxy.operations["Publish"] - published < 40
    listener.send_signal(signal.SIGINT)
    listener.wait(20)
    eventually(lambda: set(listeners(shop)) == before)


def test_a_listener_that_is_killed_harms_nobody(shop, tmp_path):
    """Tasks go on, and what its queue piles up is what one minute brings."""
    shop.worker(pool="threads")
    before = set(listeners(shop))
    listener = listen(shop, tmp_path / "events")
    left = eventually(lambda: set(listeners(shop)) - before)
    listener.kill()
    listener.wait()

    assert [shop.echo.delay(number).get(timeout=60) for number in range(5)] == list(range(5))
    shop.eventually_empty()
    assert shop.aws.attributes(left.pop())["MessageRetentionPeriod"] == "60"


def test_without_permission_tasks_go_on(shop):
    """Where SNS refuses, each worker warns once, and its tasks run."""
    for name in ("CreateTopic", "Publish", "Subscribe"):
        shop.proxy.fail(name, status=403, content=DENIED)
    worker = shop.worker(pool="prefork")

    assert [shop.echo.delay(number).get(timeout=60) for number in range(5)] == list(range(5))
    shop.eventually_empty()
    assert worker.text().count("remote control does not work") == 1
    assert "Traceback" not in worker.text()


def test_a_topic_that_is_deleted_is_made_again(shop):
    """Tasks do not notice, and events find their way again."""
    shop.worker(pool="threads")
    sns = shop.aws.client("sns")
    for topic in sns.list_topics()["Topics"]:
        sns.delete_topic(TopicArn=topic["TopicArn"])

    assert shop.echo.delay("x").get(timeout=60) == "x"
    shop.eventually_empty()


def test_without_events_nothing_is_published(shop_of, ministack, monkeypatch, proxy_to):
    """A worker with events and remote control off calls SNS not once."""
    aws = entered(ministack, monkeypatch)
    proxy = proxy_to(aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    shop = shop_of(store=f"s3://{aws.bucket()}/claims")
    shop.worker(pool="threads", options=("--without-heartbeat",))

    assert shop.echo.delay("x").get(timeout=60) == "x"
    sleep(GATHER_SECONDS + 1)
    assert not {"Publish", "CreateTopic", "Subscribe", "GetTopicAttributes"} & set(proxy.operations)

"""Workers that are watched over SNS and SQS: of every pool, cheaply, and also where that is forbidden."""

import os
import threading
from collections import Counter

import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

TRANSPORT = {"visibility_timeout": 30, "wait_time_seconds": 5, "polling_interval": 0}
WATCHED = {
    "worker_enable_remote_control": True,
    "worker_send_task_events": True,
    "worker_prefetch_multiplier": 10,
    "broker_transport_options": TRANSPORT,
}
DENIED = b"""<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
<Code>AuthorizationError</Code><Message>not authorized</Message></Error></ErrorResponse>"""
SNS = ("CreateTopic", "ListSubscriptionsByTopic", "Publish", "Subscribe")
LISTENER = "claimcheck-listener-"


@pytest.fixture
def opened(sample_of, moto_aws):
    """Return a function that opens a sample which is watched; options are Celery's settings."""
    return lambda **conf: sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={**WATCHED, **conf})


def listening(aws):
    """Return the URLs of listeners' queues, and the subscriptions."""
    urls = aws.client("sqs").list_queues(QueueNamePrefix=LISTENER).get("QueueUrls", [])
    return urls, aws.client("sns").list_subscriptions()["Subscriptions"]


class Monitor:
    """A monitor in a thread of this process, as Flower has one."""

    def __init__(self, app):
        self.app = app
        self.events = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *error):
        self.receiver.should_stop = True
        self._thread.join(20)

    def _run(self):
        with self.app.connection() as connection:
            self.receiver = self.app.events.Receiver(connection, handlers={"*": self.events.append})
            for _ in self.receiver.itercapture():
                self._ready.set()

    def kinds(self, task=None):
        """Count the events, of one task or all."""
        return Counter(each["type"] for each in self.events if task is None or each.get("uuid") == task)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_every_pool_hears(opened, moto_aws, pool):
    """Commands reach workers of every pool, and one that shuts down leaves no queue and no subscription."""
    sample = opened()
    worker = sample.worker(pool=pool)
    eventually(lambda: listening(moto_aws)[1])  # with greenlets, a worker is ready before it listens
    [pong] = sample.app.control.inspect(timeout=20, limit=1).ping().values()
    assert pong == {"ok": "pong"}
    sample.app.control.shutdown()
    worker.process.wait(30)
    sample.app.pool.force_close_all()

    assert listening(moto_aws) == ([], [])


def test_events_arrive_and_are_cheap(opened, moto_aws, proxy):
    """A monitor sees each event of each task; together they cost both sides less than a fifth of a call."""
    sample = opened()
    sample.worker(pool="threads", concurrency=4)
    with Monitor(sample.app) as monitor:
        before = proxy.operations
        results = [sample.add.delay(number, 1) for number in range(100)]
        assert [result.get(timeout=60) for result in results] == list(range(1, 101))
        eventually(lambda: monitor.kinds()["task-succeeded"] == 100)
        spent = proxy.operations - before
        urls, _ = listening(moto_aws)
        mine = [it.operation for it in proxy.requests if it.pid == os.getpid()]

    assert monitor.kinds()["task-received"] == monitor.kinds()["task-started"] == 100
    assert [kind for kind, _ in sorted(monitor.kinds(results[0].id).items())] == [
        "task-received",
        "task-started",
        "task-succeeded",
    ]
    assert spent["Publish"] <= 10
    assert spent["DeleteMessage"] == 0
    assert mine.count("ReceiveMessage") < 100
    assert len(urls) == 2  # the worker's and the monitor's
    assert len(listening(moto_aws)[0]) == 1


def test_without_a_listener_nothing_is_published(opened, proxy):
    """A worker publishes no event without a listener, and asks SNS once for listeners."""
    sample = opened()
    sample.worker(pool="threads")
    results = [sample.add.delay(number, 1) for number in range(20)]
    assert [result.get(timeout=60) for result in results] == list(range(1, 21))
    eventually(lambda: proxy.operations["ListSubscriptionsByTopic"])

    assert proxy.operations["ListSubscriptionsByTopic"] == 1
    assert proxy.operations["Publish"] == 0


def test_events_may_be_off(opened):
    """A worker without events is seen alive, and none of its tasks is."""
    sample = opened(worker_send_task_events=False)
    sample.worker(pool="threads")
    with Monitor(sample.app) as monitor:
        assert sample.add.delay(1, 1).get(timeout=30) == 2
        eventually(lambda: monitor.kinds()["worker-heartbeat"])

    assert not [kind for kind in monitor.kinds() if kind.startswith("task-")]
    assert {each["freq"] for each in monitor.events if each["type"] == "worker-heartbeat"} <= {5, 10}


def test_all_may_be_off(opened, moto_aws, proxy):
    """With remote control, events and heartbeats off, SNS is not called and no queue is made."""
    sample = opened(worker_send_task_events=False, worker_enable_remote_control=False)
    sample.worker(pool="threads", options=["--without-heartbeat"])

    assert sample.add.delay(1, 1).get(timeout=30) == 2
    assert not [name for name in SNS if proxy.operations[name]]
    assert listening(moto_aws) == ([], [])


def test_a_denied_topic_stops_no_task(opened, proxy):
    """Tasks run when SNS denies everything, and each use of SNS is warned about once."""
    sample = opened()
    rules = [proxy.fail(name, status=403, content=DENIED) for name in SNS]
    worker = sample.worker(pool="prefork")
    results = [sample.add.delay(number, 1) for number in range(20)]
    assert [result.get(timeout=60) for result in results] == list(range(1, 21))
    eventually(lambda: "events not published: AuthorizationError" in worker.text())

    assert worker.text().count("AuthorizationError") == 2
    assert worker.text().count("remote control does not work: AuthorizationError") == 1
    assert sum(rule.used for rule in rules) <= 4
    assert worker.process.poll() is None

"""Health of queues and workers; and a real run that emits every metric there is.

What dashboard, alarms and pages name is held to the table of metrics by tests/unit/test_dashboard.py, and the
table to a run with a worker, here.
"""

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from celery import signals
from click.testing import CliRunner
from workers import eventually

from pipeline.admin import received_messages
from pipeline.cli.main import main
from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.sinks.cloudwatch_names import DIMENSIONS, NAMESPACE
from pipeline.metrics.table import (
    DEAD_LETTERS,
    METRICS,
    PAYLOADS_OFFLOADED,
    QUEUE_BACKLOG,
    WORKER_CONCURRENCY,
)
from pipeline.serializer import serializer
from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import InFlight
from pipeline.worker.health import Health, follow, health_of

pytestmark = pytest.mark.aws

VISIBILITY_SECONDS = 3
BIG = random.Random(7).randbytes(6_000).hex()
THROTTLED = b'{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}'
FORBIDDEN = b'{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}'
EXPIRED = b'{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"expired"}'
DENIED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


class ListSink:
    """Keeps what it is given."""

    def __init__(self):
        self.series = []

    def emit(self, batch):
        self.series += batch

    def told(self):
        return {(each.metric, each.queue): list(each.values) for each in self.series}


@pytest.fixture
def sink():
    return ListSink()


@pytest.fixture
def recorder(sink):
    recorder = Recorder(sink, interval_seconds=3_600)
    yield recorder
    recorder.close()


@pytest.fixture
def queued(sample_of, moto_aws, proxy):
    """A sample whose queue has a prefix and a dead-letter queue, with three messages and two dead ones."""
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        conf={"broker_transport_options": {"queue_name_prefix": "test-"}},
    )
    for _ in range(3):
        sample.echo.delay("x")
    sample.sqs = moto_aws.client("sqs")
    sample.dead_url = moto_aws.url_of(f"test-{sample.queue}-dlq")
    for _ in range(2):
        sample.sqs.send_message(QueueUrl=sample.dead_url, MessageBody="dead")
    return sample


@pytest.fixture
def health(queued, recorder):
    made = Health(queued.app, recorder, lambda: 8, 3_600)
    yield made
    made.close()
    made._disconnect()


def worker_of(app):
    return SimpleNamespace(app=app, pool=SimpleNamespace(num_processes=4))


class TestHealth:
    def test_a_sample_tells_what_waits_and_what_is_dead(self, queued, health, recorder, sink):
        """Depths and concurrency stand under the name that tasks know the queue by."""
        health.sample()
        recorder.flush()

        assert sink.told() == {
            (WORKER_CONCURRENCY, queued.queue): [8],
            (QUEUE_BACKLOG, queued.queue): [3],
            (DEAD_LETTERS, queued.queue): [2],
        }

    def test_a_sample_costs_two_calls(self, queued, health, proxy):
        """After the first there is one call for the queue, and one for its dead-letter queue."""
        health.sample()
        proxy.requests.clear()
        for _ in range(3):
            health.sample()

        assert proxy.operations == {"GetQueueAttributes": 6}

    def test_a_queue_without_dead_letters(self, queued, health, recorder, sink, moto_aws):
        """There is nothing to tell of a dead-letter queue that is not there, and nothing to ask."""
        queued.sqs.set_queue_attributes(
            QueueUrl=moto_aws.url_of(f"test-{queued.queue}"), Attributes={"RedrivePolicy": ""}
        )
        health.sample()
        recorder.flush()

        assert {metric for metric, _ in sink.told()} == {WORKER_CONCURRENCY, QUEUE_BACKLOG}

    def test_what_may_not_be_asked_is_logged_once(self, queued, health, recorder, sink, proxy, caplog):
        """Without leave to look at the dead letters the rest is told; once it is there, all is."""
        asked = count()
        rule = proxy.fail(
            lambda request: request.operation == "GetQueueUrl" and next(asked) % 2,  # not the queue itself
            status=400,
            times=2,
            content=FORBIDDEN,
        )
        for _ in range(2):
            health.sample()
        recorder.flush()

        assert rule.used == 2
        assert {metric for metric, _ in sink.told()} == {WORKER_CONCURRENCY, QUEUE_BACKLOG}
        assert [each.queue for each in caplog.records if "health not known" in each.message] == [queued.queue]

        health.sample()
        recorder.flush()

        assert sink.told()[DEAD_LETTERS, queued.queue] == [2]

    def test_an_sqs_that_is_gone_hurts_nobody(self, queued, health, recorder, sink, proxy):
        """A sample never raises, and the next one finds its way again."""
        proxy.fail("ListQueues", status=400, content=THROTTLED, times=1)
        health.sample()
        health.sample()
        recorder.flush()

        assert sink.told()[QUEUE_BACKLOG, queued.queue] == [3]

    def test_a_queue_that_is_not_there_is_not_made(self, queued, recorder, sink, moto_aws):
        """Looking at queues changes none."""
        queued.app.conf.task_create_missing_queues = True
        queued.app.amqp.queues.select(["nowhere"])
        health = Health(queued.app, recorder, lambda: 8, 3_600)
        health.sample()
        health._disconnect()
        recorder.flush()

        assert sink.told() == {(WORKER_CONCURRENCY, "nowhere"): [8]}
        assert not [url for url in queued.sqs.list_queues()["QueueUrls"] if "nowhere" in url]

    def test_the_thread_samples_at_once_and_ends(self, queued, recorder, sink):
        """From ready to shutdown a worker is watched, by one thread however often it is started."""
        health = health_of(worker_of(queued.app), recorder)
        follow(health)
        for _ in range(2):
            signals.worker_ready.send(sender=None)
        thread = health._thread
        eventually(lambda: recorder.flush() or len(sink.told()) == 3)
        signals.worker_shutdown.send(sender=None)
        thread.join(10)
        follow(Health(queued.app, recorder, lambda: 0, 0.0))

        assert not thread.is_alive()
        assert sink.told()[WORKER_CONCURRENCY, queued.queue] == [4]

    @pytest.mark.parametrize("seconds", [-1, "60", None, 86_401])
    def test_an_interval_that_is_none_is_refused(self, queued, recorder, seconds):
        """A worker with such an option does not start."""
        queued.app.conf.broker_transport_options["health_seconds"] = seconds

        with pytest.raises(ValueError, match="health_seconds"):
            health_of(worker_of(queued.app), recorder)

    def test_it_can_be_switched_off(self, queued, recorder):
        """With an interval of 0 there is no thread."""
        queued.app.conf.broker_transport_options["health_seconds"] = 0
        health = health_of(worker_of(queued.app), recorder)
        health.start()

        assert health._thread is None

    def test_nobody_asks_where_numbers_go_nowhere(self, queued):
        """Without metrics no call of SQS is paid for."""
        health = health_of(worker_of(queued.app), Recorder(NullSink()))
        health.start()

        assert health._thread is None

    def test_other_brokers_are_not_asked(self, sample_of, recorder, tmp_path):
        """What Redis, RabbitMQ or memory have to say is theirs to say."""
        health = health_of(worker_of(sample_of(broker="memory://", store="memory://claims").app), recorder)
        health.start()

        assert health._thread is None


def test_a_heartbeat_goes_on_when_nobody_can_count(caplog):
    """An extension that failed is tried again even if counting it failed too."""

    def broken(queue, code):
        raise RuntimeError(queue)

    Heartbeat(InFlight(), broken)._report(SimpleNamespace(queue=None), "no answer")

    assert "heartbeat failure not counted" in caplog.text


# A real run.


@pytest.fixture
def watched(sample_of, moto_aws, proxy):
    """A sample that offloads what is big, with short times, whose every call is written down."""
    options = {"visibility_timeout": VISIBILITY_SECONDS, "wait_time_seconds": 1, "health_seconds": 1}
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 5_500, "reserve_bytes": 0},
        conf={"broker_transport_options": {**options, "polling_interval": 0.1}},
        metrics=True,
    )
    sample.sqs, sample.s3 = moto_aws.client("sqs"), moto_aws.client("s3")
    sample.bucket = serializer.installed().store.bucket
    return sample


def one_message(sample):
    """Return the queue's URL, and the body of the only message in it, which is there again at once."""
    url = sample.sqs.get_queue_url(QueueName=sample.queue)["QueueUrl"]
    [message] = sample.sqs.receive_message(QueueUrl=url)["Messages"]
    sample.sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
    )
    return url, message["Body"]


def spoil(sample, publish):
    """Publish a task, and return its result and the key of its payload."""
    before = set(sample.objects())
    result = publish()
    (key,) = set(sample.objects()) - before
    return result, key


def read(cloudwatch):
    """Return units and sets of dimensions of every metric that has arrived, by name."""
    pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
    found = {}
    for each in (each for page in pages for each in page["Metrics"]):
        now = datetime.now(UTC)
        points = cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE, MetricName=each["MetricName"], Dimensions=each["Dimensions"], Period=3_600,
            StartTime=now - timedelta(hours=1), EndTime=now + timedelta(hours=1), Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        units, names = found.setdefault(each["MetricName"], (set(), set()))
        units |= {point["Unit"] for point in points}
        names |= {dimension["Name"] for dimension in each["Dimensions"]}
    return found


@pytest.mark.worker
@pytest.mark.slow
def test_a_real_run_emits_every_metric(watched, proxy, moto_aws, monkeypatch):
    """All that the table promises arrives in CloudWatch, from one producer, one worker and one sweep."""
    sample, recorder = watched, serializer.installed().recorder
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)

    # A second delivery of a task that has ended; a payload that is gone, and one that somebody wrote over.
    twice = sample.digest.delay(BIG, "twice")
    url, body = one_message(sample)
    missing, key = spoil(sample, lambda: sample.digest.delay(BIG, "missing"))
    sample.s3.delete_object(Bucket=sample.bucket, Key=key)
    corrupt, key = spoil(sample, lambda: sample.digest.delay(BIG, "corrupt"))
    size_bytes = sample.s3.head_object(Bucket=sample.bucket, Key=key)["ContentLength"]
    sample.s3.put_object(Bucket=sample.bucket, Key=key, Body=b"?" * size_bytes)
    worker = sample.worker(concurrency=2)

    # Success, failure and retry, inline and offloaded.
    assert sample.echo.delay("small").get(timeout=30) == "small"
    assert twice.get(timeout=30)
    for result in (missing, corrupt, sample.fail.delay("x")):
        result.get(timeout=60, propagate=False)
    assert sample.retry_twice.delay(BIG).get(timeout=30) == len(BIG)
    eventually(
        lambda: len(sample.objects()) == 1
    )  # the corrupt one's, which lies in front of the dead letters
    sample.sqs.send_message(QueueUrl=url, MessageBody=body)
    sample.sqs.send_message(QueueUrl=url, MessageBody="no task")
    eventually(lambda: "message is not valid" in worker.text())

    # SQS does not extend, and then does not delete; S3 does not delete.
    failures = proxy.fail("ChangeMessageVisibilityBatch", status=400, times=2, content=FORBIDDEN)
    assert sample.nap.delay("x", VISIBILITY_SECONDS).get(timeout=30) == 1
    assert failures.used == 2
    proxy.fail("DeleteMessageBatch", status=400, times=1, content=EXPIRED)
    unsettled = proxy.fail("DeleteMessage", status=400, times=1, content=EXPIRED)
    sample.echo.delay("unsettled").get(timeout=30)
    eventually(lambda: unsettled.used)
    denied = proxy.fail("DeleteObjects", status=403, times=1, content=DENIED)
    sample.digest.delay(BIG, "orphan").get(timeout=30)
    eventually(lambda: denied.used)
    worker.stop()

    # A sweep, and a CloudWatch that refuses once.
    words = ["-A", "sample_app", "sweep", "--json", "--older-than", "0s", "--force-age"]
    swept = json.loads(CliRunner().invoke(main, words).stdout)
    recorder.flush()
    proxy.fail("PutMetricData", status=400, times=1)
    for _ in range(2):
        recorder.record(PAYLOADS_OFFLOADED, 0)
        recorder.flush()
    recorder.close()
    found = read(moto_aws.client("cloudwatch"))

    assert swept["orphans"] >= 1
    assert found.keys() == {metric.name for metric in METRICS}
    for metric in METRICS:
        units, dimensions = found[metric.name]
        assert units == {metric.unit.value}, metric.name
        assert dimensions <= set(DIMENSIONS)

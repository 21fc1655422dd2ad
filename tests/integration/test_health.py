"""Workers report queue depth, dead letters and concurrency."""

from itertools import count
from types import SimpleNamespace

import pytest
from celery import signals
from workers import eventually

from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.metrics.table import DEAD_LETTERS, MESSAGES_IN_FLIGHT, QUEUE_BACKLOG, WORKER_CONCURRENCY
from pipeline.transport.heartbeat import Heartbeat
from pipeline.transport.in_flight import InFlight
from pipeline.worker.health import Health, follow, health_of

pytestmark = pytest.mark.aws

FORBIDDEN = b'{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}'
THROTTLED = b'{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slow down"}'


class ListSink:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.series = []

    def emit(self, batch):
        self.series += batch

    def values(self):
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
    def test_a_sample_has_depths_and_concurrency(self, queued, health, recorder, sink):
        """Depths and concurrency are recorded under the queue name that tasks use."""
        health.sample()
        recorder.flush()

        assert sink.values() == {
            (WORKER_CONCURRENCY, queued.queue): [8],
            (QUEUE_BACKLOG, queued.queue): [3],
            (MESSAGES_IN_FLIGHT, queued.queue): [0],
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
        """A queue without a dead-letter queue records no dead letters, and makes no call for them."""
        queued.sqs.set_queue_attributes(
            QueueUrl=moto_aws.url_of(f"test-{queued.queue}"), Attributes={"RedrivePolicy": ""}
        )
        health.sample()
        recorder.flush()

        assert {metric for metric, _ in sink.values()} == {
            WORKER_CONCURRENCY,
            QUEUE_BACKLOG,
            MESSAGES_IN_FLIGHT,
        }

    def test_a_denied_depth_is_logged_once(self, queued, health, recorder, sink, proxy, caplog):
        """A denied dead-letter depth is logged once, and the other depths are recorded."""
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
        assert {metric for metric, _ in sink.values()} == {
            WORKER_CONCURRENCY,
            QUEUE_BACKLOG,
            MESSAGES_IN_FLIGHT,
        }
        assert [each.queue for each in caplog.records if "health not known" in each.message] == [queued.queue]

        health.sample()
        recorder.flush()

        assert sink.values()[DEAD_LETTERS, queued.queue] == [2]

    def test_an_sqs_that_fails_stops_no_sample(self, queued, health, recorder, sink, proxy):
        """A sample never raises, and the next one works again."""
        proxy.fail("ListQueues", status=400, content=THROTTLED, times=1)
        health.sample()
        health.sample()
        recorder.flush()

        assert sink.values()[QUEUE_BACKLOG, queued.queue] == [3]

    def test_a_queue_that_is_not_there_is_not_made(self, queued, recorder, sink, moto_aws):
        """Looking at queues changes none."""
        queued.app.conf.task_create_missing_queues = True
        queued.app.amqp.queues.select(["nowhere"])
        health = Health(queued.app, recorder, lambda: 8, 3_600)
        health.sample()
        health._disconnect()
        recorder.flush()

        assert sink.values() == {(WORKER_CONCURRENCY, "nowhere"): [8]}
        assert not [url for url in queued.sqs.list_queues()["QueueUrls"] if "nowhere" in url]

    def test_the_thread_samples_at_once_and_ends(self, queued, recorder, sink):
        """From ready to shutdown a worker is watched, by one thread however often it is started."""
        health = health_of(worker_of(queued.app), recorder)
        follow(health)
        for _ in range(2):
            signals.worker_ready.send(sender=None)
        thread = health._thread
        eventually(lambda: recorder.flush() or len(sink.values()) == 4)
        signals.worker_shutdown.send(sender=None)
        thread.join(10)
        follow(Health(queued.app, recorder, lambda: 0, 0.0))

        assert not thread.is_alive()
        assert sink.values()[WORKER_CONCURRENCY, queued.queue] == [4]

    @pytest.mark.parametrize("seconds", [-1, "60", None, 86_401])
    def test_a_wrong_interval_stops_the_start(self, queued, recorder, seconds):
        """A worker with an invalid ``health_seconds`` does not start."""
        queued.app.conf.broker_transport_options["health_seconds"] = seconds

        with pytest.raises(ValueError, match="health_seconds"):
            health_of(worker_of(queued.app), recorder)

    def test_it_can_be_switched_off(self, queued, recorder):
        """With an interval of 0 there is no thread."""
        queued.app.conf.broker_transport_options["health_seconds"] = 0
        health = health_of(worker_of(queued.app), recorder)
        health.start()

        assert health._thread is None

    def test_without_metrics_there_is_no_call(self, queued):
        """A worker without a metric sink makes no SQS call for health."""
        health = health_of(worker_of(queued.app), Recorder(NullSink()))
        health.start()

        assert health._thread is None

    def test_other_brokers_are_not_asked(self, sample_of, recorder, tmp_path):
        """The health of other brokers is not sampled."""
        health = health_of(worker_of(sample_of(broker="memory://", store="memory://claims").app), recorder)
        health.start()

        assert health._thread is None


def test_a_heartbeat_survives_a_failing_counter(caplog):
    """A failed extension is tried again even if counting it failed too."""

    def broken(queue, code):
        raise RuntimeError(queue)

    Heartbeat(InFlight(), broken)._report(SimpleNamespace(queue=None), "no answer")

    assert "heartbeat failure not counted" in caplog.text

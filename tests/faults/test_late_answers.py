"""Messages of an answer that comes after the consumer stopped are visible to other consumers at once."""

import signal
from uuid import uuid4

import pytest
from kombu import Connection, Queue
from kombu.asynchronous import Hub, set_event_loop
from workers import eventually

from pipeline.transport import Transport

pytestmark = [
    pytest.mark.aws,
    pytest.mark.worker,
    pytest.mark.filterwarnings("ignore:.*deprecated; use:DeprecationWarning"),  # of pycurl, in Kombu
]

OPTIONS = {"visibility_timeout": 60, "wait_time_seconds": 5, "polling_interval": 0}


@pytest.fixture
def hub():
    """An event loop of this thread."""
    hub = Hub()
    set_event_loop(hub)
    yield hub
    hub.close()
    set_event_loop(None)


@pytest.fixture(params=[False, True], ids=["any queue", "predefined"])
def asked(request, hub, moto_aws, proxy):
    """A channel whose event loop has asked an empty queue and waits for the answer, and the queue's name."""
    name = f"queue-{uuid4().hex[:8]}"
    url = moto_aws.queue(name, VisibilityTimeout=60)
    predefined = {"predefined_queues": {name: {"url": url}}} if request.param else {}
    with Connection("sqs://", transport=Transport, transport_options=OPTIONS | predefined) as connection:
        channel = connection.channel()
        Queue(name, channel=channel).consume(callback=print)
        eventually(lambda: turn(hub) or proxy.operations["ReceiveMessage"])
        yield channel, name


def turn(hub):
    """Let the event loop do what there is to do, once."""
    next(hub.create_loop())


def publish(aws, name):
    """Put a message on a queue, past Kombu."""
    aws.client("sqs").send_message(QueueUrl=aws.url_of(name), MessageBody="{}")


def shown_after(aws, name):
    """Return how many messages a queue shows, once none of them is hidden."""
    eventually(lambda: aws.depth(name).hidden == 0, 10)
    return aws.depth(name).waiting


def test_a_closed_channel_gives_back_what_arrives(asked, hub, moto_aws, proxy, caplog):
    """A closed channel returns the messages of a late answer, and its event loop sends no further receive."""
    channel, name = asked
    channel.close()
    publish(moto_aws, name)
    eventually(lambda: turn(hub) or proxy.operations["ChangeMessageVisibilityBatch"])
    for _ in range(5):
        turn(hub)

    assert shown_after(moto_aws, name) == 1
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]


def test_an_event_loop_closes_after_the_last_answer(asked, hub, moto_aws):
    """An event loop that closes waits for answers without a consumer, and gives their messages back."""
    channel, name = asked
    for tag in list(channel._consumers):
        channel.basic_cancel(tag)
    publish(moto_aws, name)
    hub.close()

    assert shown_after(moto_aws, name) == 1


def test_an_event_loop_that_is_reset_waits_for_nothing(asked, hub, proxy):
    """After a lost connection no answer may come at all, and tasks that run need the event loop."""
    proxy.delay(600)
    hub.reset()

    assert not proxy.operations["ChangeMessageVisibilityBatch"]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_warm_stops_log_no_error_and_hide_nothing(sample_of, moto_aws, pool):
    """A worker that is watched, and stopped as a message arrives, logs no ERROR and leaves it not hidden."""
    watched = {"worker_enable_remote_control": True, "worker_send_task_events": True}
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        conf={"broker_transport_options": OPTIONS | {"wait_time_seconds": 2}, **watched},
    )
    stopping = sample.worker(pool=pool)
    stopping.process.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in stopping.text())
    sample.nap.delay("x", 0)
    assert sample.app.control.ping(timeout=0.5) == []
    stopping.process.wait(30)

    assert shown_after(moto_aws, sample.queue) + len(sample.notes()) == 1
    assert "ERROR" not in stopping.text()

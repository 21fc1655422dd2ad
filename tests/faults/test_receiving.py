"""Whatever goes wrong while a worker receives, it goes on receiving, and ends no task."""

import sys
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from kombu import Connection, Exchange, Producer, Queue
from workers import eventually

from pipeline.transport import Transport
from pipeline.transport.clients import short_timeout_client

pytestmark = [pytest.mark.aws, pytest.mark.worker]

OPTIONS = {"visibility_timeout": 30, "wait_time_seconds": 1, "polling_interval": 0}
STUMBLES = """
from celery.signals import worker_ready

from sample_app import app

@worker_ready.connect
def stumble(sender, **_):  # Celery sends it once in a worker's life
    def lose():
        raise ConnectionResetError("the connection is lost")

    sender.hub.call_later(0.5, lose)
"""
"""A sample in whose event loop a connection error comes up, once."""


@pytest.fixture
def sample(sample_of, moto_aws, proxy):
    """A sample behind a proxy whose workers receive without breaks."""
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": OPTIONS},
    )


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_connects_anew_receives(sample, proxy, tmp_path, pool):
    """After a connection error in the event loop, tasks that come later run."""
    (tmp_path / "stumbling.py").write_text(STUMBLES)
    sample.environment["PYTHONPATH"] = str(tmp_path)
    worker = sample.worker(pool=pool, app="stumbling")
    eventually(lambda: "the connection is lost" in worker.text())
    asked = proxy.operations["ReceiveMessage"]
    # The call that was under way may still take a message along, which then is hidden for a while.
    eventually(lambda: proxy.operations["ReceiveMessage"] > asked + 2)

    assert sample.echo.delay("x").get(timeout=30) == "x"
    sample.eventually_empty()


def test_an_answer_that_never_comes_is_given_up(sample, proxy):
    """A connection that was forgotten on the way stops its queue for some seconds, not for good."""
    worker = sample.worker(pool="threads")
    forgotten = proxy.delay(600, "ReceiveMessage", times=1)
    eventually(lambda: forgotten.used)

    assert sample.echo.delay("x").get(timeout=30) == "x"
    sample.eventually_empty()
    assert "nothing received: SQS answered 599" in worker.text()


CREDENTIALS = """
import json, pathlib, sys, time

if not pathlib.Path(sys.argv[1]).exists():
    sys.exit("no credentials now")
soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
keys = {"AccessKeyId": "test", "SecretAccessKey": "test", "SessionToken": "test"}
print(json.dumps({"Version": 1, "Expiration": soon, **keys}))
"""
"""Credentials that boto3 fetches for each call, as they expire in a minute, while there is a file."""


@pytest.fixture
def vault(moto_aws, tmp_path, monkeypatch):
    """A file without which there are no credentials, here and in workers."""
    vault, program, config = tmp_path / "vault", tmp_path / "credentials.py", tmp_path / "aws"
    vault.touch()
    program.write_text(CREDENTIALS)
    config.write_text(f"[default]\ncredential_process = {sys.executable} {program} {vault}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return vault


def test_credentials_that_cannot_be_refreshed_cost_pauses(vault, sample):
    """A request that cannot be signed is one that was not answered; the connection stays."""
    worker = sample.worker(pool="threads")
    vault.unlink()
    eventually(lambda: "nothing received: CredentialRetrievalError, attempt 3" in worker.text())
    vault.touch()

    assert sample.echo.delay("x").get(timeout=30) == "x"
    sample.eventually_empty()
    assert "Connection to broker lost" not in worker.text()


def denial(code):
    return f'{{"__type":"com.amazonaws.sqs#{code}","message":"no"}}'.encode()


def test_a_queue_with_too_many_messages_in_flight(sample, proxy):
    """OverLimit is a pause: a worker receives again as soon as SQS delivers again."""
    worker = sample.worker(pool="threads")
    proxy.fail("ReceiveMessage", 403, times=2, content=denial("OverLimit"))

    assert sample.echo.delay("x").get(timeout=30) == "x"
    sample.eventually_empty()
    assert "nothing received: SQS answered OverLimit, attempt 2" in worker.text()


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_worker_without_an_event_loop_survives_throttling(sample, proxy, pool):
    """A worker with greenlets pauses when SQS throttles it, receives again, and keeps running."""
    sample.environment["AWS_MAX_ATTEMPTS"] = "1"
    worker = sample.worker(pool=pool)
    proxy.fail("ReceiveMessage", 503, times=2)
    proxy.fail("ReceiveMessage", 400, times=2, content=denial("RequestThrottled"))
    eventually(lambda: "nothing received: SQS answered RequestThrottled, attempt 4" in worker.text())

    assert sample.echo.delay("x").get(timeout=30) == "x"
    sample.eventually_empty()
    assert worker.process.poll() is None
    assert "Unrecoverable" not in worker.text()


@pytest.fixture
def channel(moto_aws, proxy):
    """A channel that consumes a queue with one message, and tries each call once."""
    options = {"wait_time_seconds": 1, "client-config": {"retries": {"total_max_attempts": 1}}}
    with Connection("sqs://", transport=Transport, transport_options=options) as connection:
        channel = connection.channel()
        queue = Queue(f"queue-{uuid4().hex[:8]}", channel=channel)
        Producer(channel).publish({}, routing_key=queue.name, declare=[queue], serializer="json")
        channel.got = []
        queue.consume(callback=channel.got.append)
        yield channel


@pytest.mark.parametrize(
    ("status", "code"), [(503, "ServiceUnavailable"), (403, "OverLimit"), (403, "ExpiredToken")]
)
def test_drain_events_waits_through_transient_errors(channel, proxy, status, code):
    """``drain_events`` treats a transient error as no message, and never waits beyond its timeout."""
    proxy.fail("ReceiveMessage", status, content=denial(code))
    with pytest.raises(TimeoutError):
        channel.connection.client.drain_events(timeout=1)
    proxy.heal()
    channel.connection.client.drain_events(timeout=5)

    assert len(channel.got) == 1


def test_a_queue_that_is_gone_is_an_error(channel, proxy):
    """``drain_events`` raises at once when the queue does not exist."""
    proxy.fail("ReceiveMessage", 400, content=denial("QueueDoesNotExist"))

    with pytest.raises(ClientError, match="QueueDoesNotExist"):
        channel.connection.client.drain_events(timeout=5)


def test_basic_get_raises_a_transient_error(channel, proxy):
    """``basic_get`` raises a transient error instead of returning no message."""
    proxy.fail("ReceiveMessage", 503, content=denial("ServiceUnavailable"))

    with pytest.raises(ClientError, match="ServiceUnavailable"):
        channel.basic_get(next(iter(channel._active_queues)))


@pytest.mark.parametrize("verb", ["lose", "fail"])
def test_a_rejected_message_frees_its_slot_though_sqs_is_gone(channel, proxy, verb):
    """A rejected message frees its prefetch slot and stays in SQS when its queue cannot be inspected."""
    channel.basic_qos(prefetch_count=1)
    channel.connection.client.drain_events(timeout=5)
    assert not channel.qos.can_consume()
    getattr(proxy, verb)("GetQueueAttributes")
    channel.got[0].reject()

    assert channel.qos.can_consume()
    assert proxy.operations["ChangeMessageVisibility"] == 1
    assert not proxy.operations["DeleteMessage"]


def test_a_channel_closes_without_credentials(vault, channel, proxy, caplog):
    """A channel closes without credentials, although it cannot return its messages."""
    channel.connection.client.drain_events(timeout=5)
    vault.unlink()
    channel.close()

    assert "messages not given back" in caplog.text
    assert not proxy.operations["ChangeMessageVisibilityBatch"]


def test_who_removes_a_listener_has_fresh_credentials(vault, channel):
    """Hours later its queue is removed with the credentials of then."""
    sqs = short_timeout_client(channel.sqs())

    assert sqs._request_signer._credentials is channel.sqs()._request_signer._credentials


def test_a_rejected_message_is_deleted_from_its_own_queue(moto_aws):
    """A rejected message without a dead-letter queue is deleted from its own queue, whatever its key."""
    name = f"queue-{uuid4().hex[:8]}"
    options = {"predefined_queues": {name: {"url": moto_aws.queue(name)}}, "wait_time_seconds": 1}
    with Connection("sqs://", transport=Transport, transport_options=options) as connection:
        channel = connection.channel()
        queue = Queue(name, Exchange("media"), routing_key="media.x", channel=channel)
        Producer(channel, queue.exchange).publish({}, routing_key="media.x", declare=[queue])
        got = []
        queue.consume(callback=got.append)
        connection.drain_events(timeout=5)
        got[0].reject()

        assert sum(moto_aws.depth(name)) == 0

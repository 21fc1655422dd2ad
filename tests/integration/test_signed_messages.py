"""A worker with a signing key runs what is signed and nothing else, and answers its monitors as ever."""

import threading

import pytest
from sample_fixtures import cleared, entered, standing_sample
from workers import eventually

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Message
from pipeline.errors import ClaimError
from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]

KEY = "the key of this sample alone"
CONF = {
    "broker_transport_options": {
        "visibility_timeout": 30,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
        "max_receive_count": 1,
        "redelivery_floor_seconds": 0,
        "redelivery_step_seconds": 1,
    },
    "result_serializer": "claimcheck",
    "worker_enable_remote_control": True,
    "worker_send_task_events": True,
}
NO_LINKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def dead(sample):
    return sum(sample.aws.depth(f"{sample.queue}-dlq"))


def send(sample, key):
    """Publish a task with another key, or none, and return its result."""
    claimcheck = serializer.installed()
    codec, embed = claimcheck.codec.encode(NO_LINKS)
    message = Message(
        shape="task", payload=claimcheck.seal([["x", 0], {}, []]), embed=embed, embed_codec=codec
    )
    task_id = f"forged-{key}"
    headers = sample.app.amqp.create_task_message(task_id, "sample_app.nap", (), {}).headers
    with sample.app.producer_or_acquire() as producer:
        producer.publish(
            wire_form.write(message, key), routing_key=sample.queue, exchange="", headers=headers,
            content_type=serializer.CONTENT_TYPE, content_encoding="binary",
        )  # fmt: skip
    return sample.app.AsyncResult(task_id)


class TestWorker:
    """One worker with a key, for all of these tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def running(cls, moto, tmp_path_factory):
        """A sample with a key, and a worker for all tests here that reject."""
        key = ("SHOP_SIGNING_KEY", KEY)
        with standing_sample(
            moto, tmp_path_factory.mktemp("sample_app"), pool="threads", variables=[key], conf=CONF
        ) as sample:
            yield sample

    @pytest.fixture
    def sample(self, running, moto, monkeypatch):
        return cleared(running, moto, monkeypatch)

    @pytest.mark.parametrize("payload", ["x", b"\0\1" * 200_000])
    def test_what_is_signed_runs(self, sample, payload):
        """A signed task runs, inline or offloaded, and its signed result comes back."""
        assert sample.echo.delay(payload).get(timeout=30) == payload

    @pytest.mark.parametrize("content", ["json", "yaml"])
    def test_what_has_another_content_type_does_not(self, sample, content):
        """Plain JSON, as anybody can write it, runs nothing, is not deleted, and ends in the DLQ."""
        before = dead(sample)
        headers = sample.app.amqp.create_task_message("plain", "sample_app.nap", (), {}).headers
        with sample.app.producer_or_acquire() as producer:
            producer.publish(
                [["x", 0], {}, NO_LINKS],
                routing_key=sample.queue,
                exchange="",
                headers=headers,
                serializer=content,
            )

        eventually(lambda: dead(sample) == before + 1, 60)
        assert sample.notes() == []
        assert "task not run, its message is not valid" in sample.running.text()
        assert "this app does not accept it" in sample.running.text()

    @pytest.mark.parametrize("key", [None, b"another key"])
    def test_what_is_not_signed_by_us_does_not(self, sample, key):
        """A claim without our signature runs nothing, is a recorded FAILURE, and ends in the DLQ."""
        before = dead(sample)
        with pytest.raises(ClaimError, match="claim rejected: it carries"):
            send(sample, key).get(timeout=30)

        eventually(lambda: dead(sample) == before + 1, 60)
        assert sample.notes() == []

    def test_commands_are_answered(self, sample):
        """Remote control is JSON of its own, and goes on with a key."""
        inspect = sample.app.control.inspect(timeout=20, limit=1)

        assert "pong" in repr(inspect.ping())
        assert "sample_app.echo" in repr(inspect.registered())

    def test_events_of_signed_tasks_arrive(self, sample):
        """A monitor receives the events of a signed task."""
        arrived = []
        with sample.app.connection_for_read() as connection:
            receiver = sample.app.events.Receiver(connection, handlers={"*": arrived.append})
            listening = threading.Thread(
                target=receiver.capture, kwargs={"limit": None, "timeout": 30}, daemon=True
            )
            listening.start()
            eventually(lambda: arrived, 30)
            result = sample.echo.delay("x")
            eventually(lambda: [event for event in arrived if event.get("uuid") == result.id], 30)
            receiver.should_stop = True
            listening.join(30)


def test_the_grace_mode_runs_everything(sample_of, moto, monkeypatch):
    """While a key is rolled out, a worker that has it runs plain JSON, unsigned claims and signed ones."""
    aws = entered(moto, monkeypatch, empty=False)
    monkeypatch.setenv("SHOP_SIGNING_KEY", KEY)
    options = {"accept_unsigned": True}
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options=options, conf=CONF)
    sample.worker(pool="threads")

    assert sample.nap.apply_async(("x", 0), serializer="json").get(timeout=30) == 1
    assert send(sample, None).get(timeout=30) == 1
    assert sample.nap.delay("x", 0).get(timeout=30) == 1
    with pytest.raises(ClaimError, match="a wrong signature"):
        send(sample, b"another key").get(timeout=30)

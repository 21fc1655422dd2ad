"""Messages that no task can be made of stop no worker and become dead letters, with an explanation."""

import json
import os
from base64 import b64encode

import pytest
from click.testing import CliRunner
from envelopes import DEAD_SOON, Queues, headers, text, with_, without
from workers import eventually

from pipeline.admin import received_messages
from pipeline.cli.main import main
from pipeline.serializer import serializer

pytestmark = [pytest.mark.aws, pytest.mark.worker]

SECRET = "confidential"


@pytest.fixture
def sample(sample_of, moto_aws, monkeypatch):
    """A sample whose messages are dead letters after two deliveries that came to nothing."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)
    return sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        options={"threshold_bytes": 0},
        conf={"broker_transport_options": DEAD_SOON},
    )


@pytest.fixture
def queues(sample, moto_aws):
    """The sample's queues."""
    return Queues(sample, moto_aws)


CHANGES = {
    "no envelope": without("properties"),
    "properties that are a number": with_(properties=5),
    "delivery info that is a number": with_(properties={"delivery_info": 5, "delivery_tag": "x"}),
    "an unknown encoding": with_(properties={"body_encoding": "rot13", "delivery_info": {}}),
    "base64 that is none": with_(body="%%%"),
    "a routing key that is a list": with_(properties={"delivery_info": {"routing_key": [1]}}),
    "headers that are a list": with_(headers=[1]),
    "no headers": with_(headers={}),
    "a task name that is a list": headers(task=["sample_app.digest"]),
    "no id": headers(id=None),
    "an unknown task": headers(task="sample_app.nobody"),
    "an ETA that is none": headers(eta="yesterday"),
    "a time limit that is none": headers(timelimit=5),
    "an expiry that is none": headers(expires=[]),
    "an unknown compression": headers(compression="rot13"),
    "a content type that is a list": with_(content_type=[]),
    "pickle": with_(content_type="application/x-python-serialize"),
    "a number for a body": text("5"),
    "null for a body": text("null"),
    "nothing for a body": text(""),
    "a text for a body": text(json.dumps(SECRET)),
    "one argument too few": text("[[], {}]"),
    "broken JSON for a body": text("[[" + SECRET),
    "the first protocol, broken": lambda message: {**text('{"args": 5, "task": 5}')(message), "headers": {}},
}
RAW = {
    "a word": SECRET,
    "a number": "5",
    "an event of S3": json.dumps({"Records": [{"eventName": SECRET}]}),
    "a thousand brackets": "[" * 100_000,
    "base64 of a word": b64encode(SECRET.encode()).decode(),
    "bytes that are no text": b64encode(bytes(range(256))).decode(),
}


def test_no_message_stops_a_worker_or_is_lost(sample, queues):
    """Every broken message becomes a dead letter, while tasks before and after it run."""
    sound = queues.message(sample, "digest", [SECRET])
    bodies = [b64encode(json.dumps(change(sound)).encode()).decode() for change in CHANGES.values()]
    for body in [*bodies, *RAW.values()]:
        queues.send(body)
    worker = sample.worker(pool="threads")
    result = sample.echo.delay("x")

    assert result.get(timeout=60) == "x"
    eventually(lambda: queues.depth("-dlq") == len(CHANGES) + len(RAW), 60)
    assert queues.depth() == 0
    assert sample.echo.delay("y").get(timeout=60) == "y"
    assert worker.process.poll() is None
    assert SECRET not in worker.text()
    assert sample.notes() == []


@pytest.mark.parametrize("pool", ["prefork", "solo"])
@pytest.mark.parametrize("poison", ["a number for a body", "a word", "no id", "an ETA that is none"])
def test_every_pool_moves_it_to_the_dead_letters(sample, queues, pool, poison):
    """A message that is no task becomes a dead letter on every pool, and other tasks run."""
    if poison in RAW:
        queues.send(RAW[poison])
    else:
        queues.send(json.dumps(CHANGES[poison](queues.message(sample, "digest", [SECRET]))))
    sample.worker(pool=pool)
    result = sample.echo.delay("x")

    assert result.get(timeout=60) == "x"
    eventually(lambda: queues.depth("-dlq") == 1, 60)


@pytest.fixture
def ignorant(sample_of, moto_aws, monkeypatch):
    """Make a sample that stores no results, and whose errbacks need no store; options are its broker's."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)

    def make(*, ignores=True, **broker):
        return sample_of(
            store=f"s3://{moto_aws.bucket()}/claims",
            options={"threshold_bytes": 10_000, "store_retry_seconds": 1},
            conf={"broker_transport_options": DEAD_SOON | broker, "task_ignore_result": ignores},
        )

    return make


def rejected(sample, name="digest_bytes"):
    """Publish a task whose payload is missing, and return what its errback notes."""
    result = getattr(sample, name).apply_async((os.urandom(20_000),), link_error=sample.errback.s())
    serializer.installed().store.delete(sample.objects())
    return f"errback {result.id} PayloadMissingError"


@pytest.mark.parametrize("ignores", [True, False])
def test_errbacks_are_called_once(ignorant, moto_aws, ignores):
    """A task that is rejected at each delivery calls its errbacks once, stored or not."""
    sample = ignorant(ignores=ignores)
    noted = rejected(sample)
    worker = sample.worker(pool="threads")

    eventually(lambda: Queues(sample, moto_aws).depth("-dlq") == 1, 60)
    assert worker.text().count("task rejected") == 2
    assert sample.notes() == [noted]


def test_errbacks_are_called_though_the_message_was_given_back(ignorant, moto_aws, s3):
    """A delivery that came to nothing does not count as one that has called the errbacks."""
    sample = ignorant(max_receive_count=5)
    queues = Queues(sample, moto_aws)
    s3.fail("GetObject", status=503)
    result = sample.digest_bytes.apply_async((os.urandom(20_000),), link_error=sample.errback.s())
    worker = sample.worker(pool="threads")
    eventually(lambda: "StoreUnavailableError" in worker.text())
    serializer.installed().store.delete(sample.objects())
    s3.heal()

    eventually(lambda: queues.depth("-dlq") == 1, 60)
    assert sample.notes() == [f"errback {result.id} PayloadMissingError"]


@pytest.mark.parametrize(("name", "broker"), [("early", {}), ("digest_bytes", {"dead_letter_queues": False})])
def test_errbacks_are_called_when_no_delivery_follows(ignorant, moto_aws, name, broker):
    """A first delivery calls the errbacks if its message is gone or no redrive policy keeps it."""
    sample = ignorant(**broker)
    noted = rejected(sample, name)
    sample.worker(pool="threads")

    eventually(lambda: sample.notes() == [noted])
    eventually(lambda: Queues(sample, moto_aws).depth() == 0)


def test_without_dead_letters_nothing_is_deleted(sample_of, moto_aws):
    """A queue without a redrive policy keeps what no task can be made of, and shows it ever more rarely."""
    options = {**DEAD_SOON, "dead_letter_queues": False, "redelivery_limit_seconds": 1}
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims", conf={"broker_transport_options": options}
    )  # fmt: skip
    queues = Queues(sample, moto_aws)
    unknown = CHANGES["an unknown task"](queues.message(sample, "digest", [SECRET]))
    queues.send("hello")
    queues.send(json.dumps(unknown))
    worker = sample.worker(pool="solo")
    eventually(
        lambda: worker.text().count("message is not valid") + worker.text().count("Received unreg") > 4
    )

    assert queues.depth() == 2


def dlq(*words):
    """Run a command about dead letters, and return what it says."""
    result = CliRunner().invoke(main, ["-A", "sample_app", "dlq", *words, "--json"])
    return json.loads(result.stdout)


def test_a_corrected_message_runs(sample, queues):
    """A missing object and an unknown task are explained; put right and redriven, both run."""
    store = serializer.installed().store
    missing = sample.digest.delay([SECRET])
    [stored] = store.list()
    key, payload = stored.key, store.get(stored.key, stored.size_bytes)
    store.delete([key])
    unknown = sample.app.send_task("sample_app.mended", ([SECRET],))
    worker = sample.worker(pool="solo")
    eventually(lambda: queues.depth("-dlq") == 2, 60)
    shown = {each["task_id"]: each for each in dlq("show")["messages"]}
    worker.stop()

    assert "missing" in str(shown[missing.id])
    assert shown[unknown.id]["payload_there"]
    assert SECRET not in str(shown)
    assert len(sample.objects()) == 1

    store.put(key, payload, {})
    sample.environment["SHOP_MENDED"] = "1"
    sample.worker(pool="solo")
    dlq("redrive")
    eventually(lambda: "mended" in sample.notes(), 60)
    sample.eventually_empty(60)
    assert (queues.depth(), queues.depth("-dlq")) == (0, 0)
    assert missing.get(timeout=10) == sample.digest([SECRET])

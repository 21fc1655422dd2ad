"""Exactly at the limits: what fits travels inline, one byte more is offloaded, and SQS takes both."""

import random
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from celery import group
from celery.signals import before_task_publish
from kombu.exceptions import EncodeError, OperationalError
from sample_fixtures import entered

import pipeline
from pipeline.aws.limits import SQS_MESSAGE_LIMIT_BYTES
from pipeline.claimcheck.message_size import FRAME_BYTES, attributes_bytes
from pipeline.transport import BatchSendError
from pipeline.transport.send import lingering

pytestmark = [pytest.mark.aws]

NOISE = random.Random(17).randbytes(1_000_000)
LIMIT = SQS_MESSAGE_LIMIT_BYTES
ATTRIBUTES = {"tenant": {"DataType": "String", "StringValue": "\U0001f600" * 100}}
KINDS = {
    "plain": {},
    "group": {"MessageGroupId": "tenant-" + "7" * 100},
    "attributes": {"message_attributes": ATTRIBUTES},
    "correlation": {"correlation_id": "c" * 5_000},
    "astral": {"headers": {"note": "\U0001f600" * 500}, "shadow": "\U0001f600" * 50},
    "expires": {"expires": 3_600, "priority": 3, "reply_to": "someone"},
    "later": {"countdown": 600},
    "compressed": {"compression": "bzip2"},
}


@pytest.fixture
def aws(ministack, monkeypatch):
    """The stand-in that enforces SQS's limit, as AWS does."""
    return entered(ministack, monkeypatch)


@pytest.fixture
def sample_with(sample_of, aws, proxy):
    """Return a function that makes a sample with options, and no reserve."""
    store = f"s3://{aws.bucket()}/claims"
    return lambda **options: sample_of(store=store, options={"reserve_bytes": 0, **options})


@pytest.fixture
def calls(proxy):
    """Return a function that counts the calls of the store, those with a message, and those with several."""
    names = ("PutObject", "SendMessage", "SendMessageBatch")
    return lambda: tuple(proxy.operations[name] for name in names)


@pytest.fixture
def seen():
    """Return what becomes of the headers of the last message."""
    noted = SimpleNamespace(headers={})

    def note(headers, **_):
        noted.headers = headers

    before_task_publish.connect(note)
    yield noted
    before_task_publish.disconnect(note)


def publish(sample, size, **options):
    sample.digest_bytes.apply_async((NOISE[:size],), **options)


def received(sample, aws):
    """Take the only message, and return its size as SQS counts it."""
    sqs, url = aws.client("sqs"), aws.url_of(sample.queue)
    (message,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return len(message["Body"]) + attributes_bytes(message.get("MessageAttributes"))


def exactly(sample, seen, limit, **options):
    """Return a function that publishes a message which weighs so many bytes less or more than a limit."""
    options["headers"] = {**options.get("headers", {}), "pad": "x" * 8}
    size = limit // 10 * 6
    publish(sample, size, **options)
    missing = limit - seen.headers["claimcheck"]["wire_bytes"]

    def send(more):
        options["headers"]["pad"] = "x" * (8 + missing % 4 + more)
        publish(sample, size + missing // 4 * 3, **options)
        return seen.headers["claimcheck"]

    return send


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"later", "compressed"}])
def test_the_weight_is_what_sqs_counts(sample_with, aws, seen, kind):
    """Headers, properties, attributes and astral characters count; the frame alone is an estimate."""
    sample = sample_with()
    for size in (0, 1, 100, 90_000):
        publish(sample, size, **KINDS[kind])
        computed, actual = seen.headers["claimcheck"]["wire_bytes"], received(sample, aws)

        assert actual <= computed <= actual + FRAME_BYTES


@pytest.mark.parametrize(
    "limits", [{"threshold_bytes": LIMIT}, {"threshold_bytes": 200_000}], ids=["broker", "threshold"]
)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "compressed"])
def test_one_message_at_the_limit(sample_with, aws, calls, seen, limits, kind):
    """Up to the limit it travels inline, one byte above it is offloaded, and SQS takes all of them."""
    sample = sample_with(**limits)
    limit = limits["threshold_bytes"]
    send = exactly(sample, seen, limit, **KINDS[kind])

    assert [send(more)["wire_bytes"] for more in (-1, 0)] == [limit - 1, limit]
    assert calls()[0] == 0
    assert send(1)["key"]
    assert calls()[0] == 1
    assert sum(aws.depth(sample.queue)) == 4


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_a_call_at_the_limit(sample_with, aws, calls, seen, fifo, monkeypatch):
    """Two messages that weigh a mebibyte together are one call; with one byte more they are two."""
    monkeypatch.setattr(lingering, "SECONDS", 3_600)  # on a busy machine the first one would be sent alone
    sample = sample_with(threshold_bytes=LIMIT)
    options = {"queue": f"{sample.queue}.fifo"} if fifo else {}
    numbers = iter(range(100))

    def both(more):
        with pipeline.batch():
            for pad in (0, more):
                own = {"MessageGroupId": f"{next(numbers):02}"} if fifo else {}
                publish(sample, 380_000, headers={"pad": "x" * pad}, **options, **own)

    both(0)
    sqs, url = aws.client("sqs"), aws.url_of(options.get("queue", sample.queue))
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    missing = LIMIT - sum(len(message["Body"]) for message in messages)
    assert calls() == (0, 0, 1)
    both(missing)
    assert calls() == (0, 0, 2)
    both(missing + 1)

    assert calls() == (0, 2, 2)
    assert sum(aws.depth(options.get("queue", sample.queue))) == 6


def test_a_message_that_kombu_compresses_is_taken(sample_with, aws, calls):
    """``compression=`` makes the largest inline bodies heavier, and that was counted."""
    sample = sample_with(threshold_bytes=LIMIT)
    for size in range(774_000, 787_000, 1_000):
        publish(sample, size, compression="bzip2")

    assert 0 < calls()[0] < 13
    assert sum(aws.depth(sample.queue)) == 13


def test_what_travels_beside_the_largest_body_offloads_it(sample_with, aws, calls):
    """A long ``correlation_id`` beside the largest inline body is no error of SQS."""
    sample = sample_with(threshold_bytes=LIMIT, reserve_bytes=4_096)
    publish(sample, 780_000)
    publish(sample, 780_000, correlation_id="c" * 5_000)

    assert calls() == (1, 2, 0)


def test_attributes_above_the_limit_are_the_publisher_s_error(sample_with, calls, sample_of):
    """A message that no offloading makes small enough is never sent, and its payload is released."""
    sample = sample_with()
    attributes = {"big": {"DataType": "String", "StringValue": "x" * LIMIT}}
    with pytest.raises(EncodeError, match="message attributes or signatures are too big"):
        publish(sample, 10, message_attributes=attributes)

    assert calls()[1:] == (0, 0)
    assert not sample.objects()


@pytest.mark.parametrize("label", ["", "two words", "\u00e9", "x" * 129, 42])
@pytest.mark.parametrize("name", ["MessageGroupId", "MessageDeduplicationId"])
def test_a_label_that_sqs_rejects_is_the_publisher_s_error(sample_with, calls, name, label):
    """An empty message group is named in one sentence, and nothing is stored or sent."""
    sample = sample_with(threshold_bytes=0)
    with pytest.raises(ValueError, match=f"{name}=.*expected 1 to 128"):
        publish(sample, 10, **{name: label})

    assert calls() == (0, 0, 0)


def test_parameters_that_botocore_rejects_release_the_payload(sample_with, calls):
    """A message that botocore did not send releases its payload."""
    sample = sample_with(threshold_bytes=0)
    with pytest.raises(OperationalError, match="StringValue"):
        publish(
            sample, 10, message_attributes={"tenant": {"DataType": "String", "StringValue": 7}}, retry=False
        )

    assert calls() == (1, 0, 0)
    assert not sample.objects()


def test_one_invalid_message_of_a_batch_fails_alone(sample_with, aws):
    """A call that botocore rejects for one message is split: the others are sent, the error names it."""
    sample = sample_with(threshold_bytes=0, pack_bytes=0)
    wrong = {"tenant": {"DataType": "String", "StringValue": 7}}
    tasks = [sample.double.s(number) for number in range(9)]
    with pytest.raises(BatchSendError) as caught:
        group([*tasks, sample.double.s(9).set(message_attributes=wrong)]).apply_async()

    assert [(each.code, each.is_certain) for each in caught.value.failed] == [("ParamValidationError", True)]
    assert aws.depth(sample.queue).waiting == 9
    assert len(sample.objects()) == 9


def test_the_stand_in_has_sqs_s_limit(aws):
    """The stand-in rejects a message that is one byte above SQS's limit."""
    sqs, url = aws.client("sqs"), aws.queue()
    half = "x" * (LIMIT // 2)
    sqs.send_message(QueueUrl=url, MessageBody="x" * LIMIT)

    with pytest.raises(ClientError, match="SendMessage operation"):
        sqs.send_message(QueueUrl=url, MessageBody="x" * (LIMIT + 1))
    entries = [{"Id": "1", "MessageBody": half}, {"Id": "2", "MessageBody": f"{half}x"}]
    with pytest.raises(ClientError, match="BatchRequestTooLong"):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)

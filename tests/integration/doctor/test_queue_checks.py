"""``pipeline doctor`` reports each fault of the queues by its own check, with its fix."""

import json

import pytest
from doctor_sample import ARN, examine, ill

from pipeline.serializer import serializer

pytestmark = pytest.mark.aws


@pytest.mark.parametrize(
    "call", ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "SendMessage"]
)
def test_each_permission_of_a_queue_is_checked(house, proxy, call):
    """A permission that a worker lacks on a queue is named, with the policy that grants it."""
    proxy.fail(call, status=400, content=b'{"__type": "com.amazon.coral.service#AccessDeniedException"}')
    code, checks = examine()
    name = f"permissions of {house.queue}"

    assert (code, ill(checks)) == (1, [name])
    assert checks[name]["detail"] == f"denied: sqs:{call}"
    assert checks[name]["fix"] == f"allow sqs:{call} as in deploy/iam-worker.json"


def test_permissions_are_tried_without_doing_anything(sample_of, aws):
    """What is tried does nothing to a queue and its messages, of either kind and on either stand-in."""
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", conf={"task_routes": {"x": "orders.fifo"}})
    urls = [aws.queue(sample.queue), aws.queue("orders.fifo", FifoQueue="true")]
    groups = ({}, {"MessageGroupId": "g", "MessageDeduplicationId": "d"})
    for url, group in zip(urls, groups, strict=True):
        aws.client("sqs").send_message(QueueUrl=url, MessageBody="x", **group)
    checks = examine()[1]

    assert all(checks[f"permissions of {name}"]["ok"] for name in (sample.queue, "orders.fifo"))
    assert [aws.depth(url) for url in urls] == [(1, 0, 0), (1, 0, 0)]
    for url in urls:
        [message] = aws.client("sqs").receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"]
        assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_an_sqs_that_cannot_answer_is_no_permission(house, proxy):
    """A server error is neither a denial nor a proof of permission."""
    proxy.fail("ReceiveMessage", status=503)

    assert ill(examine()[1]) == ["queues"]


def test_a_queue_that_is_not_there(sample):
    """A missing queue is a finding, and nothing more is asked of it."""
    checks = examine()[1]

    assert f"queue {sample.queue}" in ill(checks)


def test_a_queue_needs_dead_letters(house):
    """A queue without redrive policy, or with one that leads nowhere, is a finding with the command."""
    house.sqs.delete_queue(QueueUrl=house.dead_url)
    gone = examine()[1][f"dead letters of {house.queue}"]
    house.change(RedrivePolicy="")
    none = examine()[1][f"dead letters of {house.queue}"]

    assert "does not exist" in gone["detail"]
    assert none["detail"] == "no redrive policy"
    assert house.url in none["command"]


def test_dead_letters_must_outlive_their_queue(house):
    """SQS counts from the first send, so a dead-letter queue that keeps no longer is a finding."""
    house.sqs.set_queue_attributes(QueueUrl=house.dead_url, Attributes={"MessageRetentionPeriod": "345600"})

    assert ill(examine()[1]) == [f"retention of {house.queue}"]


def test_a_queue_that_keeps_as_long_as_sqs_can_is_to_keep_less(house):
    """Dead letters cannot be kept for more than 14 days, so then the queue's own retention is to go down."""
    house.change(MessageRetentionPeriod=str(14 * 86_400))
    check = examine()[1][f"retention of {house.queue}"]

    assert not check["ok"]
    assert f"--queue-url {house.url} " in check["command"]
    assert '{"MessageRetentionPeriod": "345600"}' in check["command"]


def test_fifo_dead_letters_start_anew(sample_of, moto_aws):
    """The days of a FIFO queue's dead letters count from when they died, so none are compared."""
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={"task_default_queue": "orders.fifo"})
    moto_aws.queue("orders-dlq.fifo", FifoQueue="true")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}orders-dlq.fifo", "maxReceiveCount": 5})
    moto_aws.queue(sample.queue, FifoQueue="true", RedrivePolicy=policy)
    checks = examine()[1]

    assert checks["dead letters of orders.fifo"]["ok"]
    assert "retention of orders.fifo" not in checks


def test_times_are_those_of_the_real_queue(house):
    """The time chain is checked against the queue's own retention, whatever the app believes."""
    house.change(MessageRetentionPeriod=str(14 * 86_400))
    before = examine()[1]
    object.__setattr__(serializer.installed().options, "payload_ttl_seconds", 28 * 86_400)
    after = examine()[1]

    assert before[f"times of {house.queue}"]["ok"]
    assert "payload_ttl_seconds" in after[f"times of {house.queue}"]["detail"]


def test_times_of_fifo_queues_count_twice(sample_of, moto_aws):
    """A TTL that is enough for a standard queue of the app may be too short for its FIFO queue."""
    conf = {"task_routes": {"x": {"queue": "orders.fifo"}}}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    moto_aws.queue(sample.queue, MessageRetentionPeriod=14 * 86_400)
    moto_aws.queue("orders.fifo", FifoQueue="true", MessageRetentionPeriod=10 * 86_400)
    checks = examine()[1]

    assert checks[f"times of {sample.queue}"]["ok"]
    assert "twice for FIFO" in checks["times of orders.fifo"]["detail"]


def test_sqs_that_refuses_is_a_finding(house, proxy):
    """Without permission to ask SQS, the store is checked all the same."""
    proxy.fail("GetQueueAttributes", status=403)
    code, checks = examine()

    assert (code, ill(checks)) == (1, ["queues"])
    assert "allow sqs:GetQueueAttributes" in checks["queues"]["detail"]


@pytest.mark.parametrize(
    ("status", "code", "fix"),
    [
        (403, "AccessDenied", "allow sqs:GetQueueUrl there"),
        (400, "com.amazonaws.sqs#AccessDeniedException", "allow sqs:GetQueueUrl there"),
        (503, "ServiceUnavailable", "try again later"),
        (400, "AWS.SimpleQueueService.RequestThrottled", "try again later"),
        (429, "TooManyRequests", "try again later"),
        (403, "InvalidClientTokenId", "check credentials"),
        (400, "InvalidAddress", "fix what it names"),
    ],
)
def test_what_sqs_answers_has_its_own_fix(house, proxy, monkeypatch, status, code, fix):
    """What to do depends on what SQS says: nobody is told to allow what is allowed."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    proxy.fail("GetQueueUrl", status=status, content=json.dumps({"__type": code}).encode())
    check = examine()[1]["queues"]

    assert check["fix"].startswith(fix)
    assert check["detail"].endswith(check["fix"])


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("AWS_ACCESS_KEY_ID", None, "give this process credentials"),
        ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9", "try again later"),
    ],
)
def test_what_keeps_us_from_asking_has_its_own_fix(house, monkeypatch, name, value, fix):
    """Without credentials, and where nobody answers, the fix says so."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)

    assert examine()[1]["queues"]["fix"].startswith(fix)


def test_a_setting_that_botocore_refuses_is_to_be_fixed(house):
    """Where a setting led nowhere, to try again would be of no use."""
    house.sample.app.conf.broker_transport_options["region"] = "no region"

    assert examine()[1]["queues"]["fix"].startswith("fix the setting that it names")

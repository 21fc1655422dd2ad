"""``pipeline doctor`` reports each fault of the queues by its own check, with its fix."""

import json

import pytest
from doctor_sample import ARN, examine, ill

from pipeline.serializer import serializer

pytestmark = pytest.mark.aws


@pytest.mark.parametrize(
    "call", ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "SendMessage"]
)
def test_each_permission_of_a_queue_is_checked(healthy, proxy, call):
    """A permission that a worker lacks on a queue is named, with the policy that grants it."""
    proxy.fail(call, status=400, content=b'{"__type": "com.amazon.coral.service#AccessDeniedException"}')
    code, checks = examine()
    name = f"permissions of {healthy.queue}"

    assert (code, ill(checks)) == (1, [name])
    assert checks[name]["detail"] == f"denied: sqs:{call}"
    assert checks[name]["fix"] == f"allow sqs:{call} as in deploy/roles.yaml"


def test_permissions_are_tried_without_doing_anything(sample_of, aws):
    """Permission checks change no queue and no message, of either kind and on either stand-in."""
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


def test_an_sqs_that_cannot_answer_is_no_permission(healthy, proxy):
    """A server error is neither a denial nor a proof of permission."""
    proxy.fail("ReceiveMessage", status=503)

    assert ill(examine()[1]) == ["queues"]


def test_a_queue_that_is_not_there(sample):
    """A missing queue is a finding, and its other checks are skipped."""
    checks = examine()[1]

    assert f"queue {sample.queue}" in ill(checks)


def test_a_queue_needs_dead_letters(healthy):
    """A queue without redrive policy, or with one that leads nowhere, is a finding with the command."""
    healthy.sqs.delete_queue(QueueUrl=healthy.dead_url)
    gone = examine()[1][f"dead letters of {healthy.queue}"]
    healthy.change(RedrivePolicy="")
    none = examine()[1][f"dead letters of {healthy.queue}"]

    assert "does not exist" in gone["detail"]
    assert none["detail"] == "no redrive policy"
    assert healthy.url in none["command"]


def test_dead_letters_must_outlive_their_queue(healthy):
    """SQS counts from the first send, so a dead-letter queue that keeps no longer is a finding."""
    healthy.sqs.set_queue_attributes(
        QueueUrl=healthy.dead_url, Attributes={"MessageRetentionPeriod": "345600"}
    )

    assert ill(examine()[1]) == [f"retention of {healthy.queue}"]


def test_a_queue_that_keeps_as_long_as_sqs_can_is_to_keep_less(healthy):
    """A queue that keeps messages for SQS's maximum of 14 days gets a command that lowers its retention."""
    healthy.change(MessageRetentionPeriod=str(14 * 86_400))
    check = examine()[1][f"retention of {healthy.queue}"]

    assert not check["ok"]
    assert f"--queue-url {healthy.url} " in check["command"]
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


def test_times_are_those_of_the_real_queue(healthy):
    """The time chain is checked against the queue's own retention, not the app's settings."""
    healthy.change(MessageRetentionPeriod=str(14 * 86_400))
    before = examine()[1]
    object.__setattr__(serializer.installed().options, "payload_ttl_seconds", 28 * 86_400)
    after = examine()[1]

    assert before[f"times of {healthy.queue}"]["ok"]
    assert "payload_ttl_seconds" in after[f"times of {healthy.queue}"]["detail"]


def test_times_of_fifo_queues_count_twice(sample_of, moto_aws):
    """A TTL that is enough for a standard queue of the app may be too short for its FIFO queue."""
    conf = {"task_routes": {"x": {"queue": "orders.fifo"}}}
    sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    moto_aws.queue(sample.queue, MessageRetentionPeriod=14 * 86_400)
    moto_aws.queue("orders.fifo", FifoQueue="true", MessageRetentionPeriod=10 * 86_400)
    checks = examine()[1]

    assert checks[f"times of {sample.queue}"]["ok"]
    assert "twice for FIFO" in checks["times of orders.fifo"]["detail"]


def test_sqs_that_denies_is_a_finding(healthy, proxy):
    """A denied SQS call is a finding, and the store is checked all the same."""
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
def test_what_sqs_answers_has_its_own_fix(healthy, proxy, monkeypatch, status, code, fix):
    """Each error code of SQS has its own fix, and only a denial suggests a permission."""
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
def test_missing_credentials_and_a_dead_endpoint_have_their_own_fix(healthy, monkeypatch, name, value, fix):
    """Missing credentials and an unreachable endpoint each have their own fix."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)

    assert examine()[1]["queues"]["fix"].startswith(fix)


def test_a_setting_that_botocore_declines_is_to_be_fixed(healthy):
    """A setting that botocore declines is fixed by changing it, not by trying again."""
    healthy.sample.app.conf.broker_transport_options["region"] = "no region"

    assert examine()[1]["queues"]["fix"].startswith("fix the setting that it names")


def test_a_queue_close_to_its_limit_in_flight(healthy, proxy):
    """From 80 % of SQS's limit on, the messages in flight of a queue are a finding."""
    name = f"in flight of {healthy.queue}"
    assert examine()[1][name]["ok"]
    known = healthy.sqs.get_queue_attributes(QueueUrl=healthy.url, AttributeNames=["All"])["Attributes"]
    known["ApproximateNumberOfMessagesNotVisible"] = "96000"
    proxy.fail("GetQueueAttributes", status=200, content=json.dumps({"Attributes": known}).encode())
    checks = examine()[1]

    assert checks[name]["detail"] == "96,000 of 120,000"
    assert name in ill(checks)

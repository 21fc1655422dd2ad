"""``pipeline dlq redrive`` sends dead letters back unchanged."""

import json
import os

import pytest
from dead_letters import ROWS, DeadLetterQueue, outcome, run

pytestmark = pytest.mark.aws

ARN = "arn:aws:sqs:eu-west-1:123456789012:"


def test_redrive_sends_messages_back_unchanged(sample, dead_letters):
    """Body and attributes of a redriven message are the same to the byte, and its payload stays."""
    sample.digest.apply_async(
        (ROWS,), message_attributes={"team": {"DataType": "String", "StringValue": "x"}}
    )
    dead_letters.bury()
    before = dead_letters.receive(dead_letters.dead_url)
    code, said = outcome("redrive")
    after = dead_letters.receive(dead_letters.url)

    assert (code, said["moved"], said["kept"]) == (0, 1, {})
    assert after["Body"] == before["Body"]
    assert after["MessageAttributes"] == before["MessageAttributes"]
    assert dead_letters.depth(dead_letters.dead_url) == 0
    assert len(sample.objects()) == 1
    assert outcome("redrive")[1]["moved"] == 0


def test_a_redrive_that_cannot_send_loses_nothing(sample, dead_letters, proxy):
    """A message stays in its dead-letter queue while SQS denies the send."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.fail("SendMessage", status=403)
    code, said = run("redrive")

    assert code == 2
    assert "allow sqs:SendMessage" in said["error"]
    assert dead_letters.depth(dead_letters.dead_url) == 1


def test_a_copy_is_kept_back(sample, dead_letters):
    """A message that fails again at once waits for the next redrive."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    dead_letters.sqs.send_message(
        QueueUrl=dead_letters.dead_url, MessageBody=dead_letters.receive(dead_letters.dead_url)["Body"]
    )
    code, said = outcome("redrive")

    assert (code, said["moved"], sum(said["kept"].values())) == (1, 1, 1)
    assert dead_letters.depth(dead_letters.dead_url) == 1


def test_fifo_messages_wait_out_their_deduplication(sample_of, moto_aws, monkeypatch):
    """A FIFO message is sent back under its own ids, but not while SQS would take it for a duplicate."""
    from pipeline.admin import dead_letter_queues

    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(
        store=store, options={"threshold_bytes": 0}, conf={"task_default_queue": "orders.fifo"}
    )
    dead_letters = DeadLetterQueue(sample, moto_aws, ".fifo")
    dead_letters.sqs.send_message(
        QueueUrl=dead_letters.dead_url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d"
    )
    code, said = outcome("redrive")
    monkeypatch.setattr(dead_letter_queues, "SQS_DEDUPLICATION_SECONDS", 0)

    assert (code, said["moved"]) == (1, 0)
    assert "duplicate" in next(iter(said["kept"]))
    assert outcome("redrive")[1]["moved"] == 1
    ids = dead_letters.receive(dead_letters.url)["Attributes"]
    assert (ids["MessageGroupId"], ids["MessageDeduplicationId"]) == ("g", "d")


def test_a_redrive_keeps_the_order_of_a_group(sample_of, moto_aws, monkeypatch):
    """Behind a FIFO message that stays, those of its group stay, too; other groups, and one task, may go."""
    from pipeline.admin import dead_letter_queues

    monkeypatch.setattr(dead_letter_queues, "SQS_DEDUPLICATION_SECONDS", 0)
    sample = sample_of(
        store=f"s3://{moto_aws.bucket()}/claims",
        conf={"task_default_queue": f"orders-{os.urandom(4).hex()}.fifo"},
    )
    dead_letters = DeadLetterQueue(sample, moto_aws, ".fifo")
    sample.app.send_task("sample_app.of_tomorrow", [ROWS], MessageGroupId="g")
    behind = sample.digest.apply_async((ROWS,), MessageGroupId="g")
    sample.digest.apply_async((ROWS,), MessageGroupId="h")
    dead_letters.bury_in_order()
    code, said = outcome("redrive", "--only-runnable")

    assert (code, said["moved"]) == (1, 1)
    assert said["kept"] == {
        "its task cannot run: task unknown to this app: sample_app.of_tomorrow": 1,
        "a message of its group that is before it stays": 1,
    }
    assert dead_letters.receive(dead_letters.url)["Attributes"]["MessageGroupId"] == "h"
    assert outcome("redrive", "--task-id", behind.id)[1]["moved"] == 1


@pytest.mark.worker
def test_a_redriven_message_runs(sample, dead_letters):
    """After a redrive, a worker runs the task with its payload, and releases it."""
    task = sample.digest.delay(ROWS)
    dead_letters.bury()
    outcome("redrive")
    dead_letters.sqs.set_queue_attributes(QueueUrl=dead_letters.url, Attributes={"VisibilityTimeout": "30"})
    sample.worker(pool="solo")

    assert task.get(timeout=30) == sample.fingerprint([[ROWS], {}])
    sample.eventually_empty()


def test_redrive_only_what_can_run(sample, dead_letters):
    """With --only-runnable a message whose task no worker could run stays, and the reason is printed."""
    sample.digest.delay(ROWS)
    bad = sample.app.send_task("sample_app.of_tomorrow", [ROWS])
    dead_letters.bury()
    code, said = outcome("redrive", "--only-runnable")

    assert (code, said["moved"]) == (1, 1)
    assert said["kept"] == {"its task cannot run: task unknown to this app: sample_app.of_tomorrow": 1}
    assert [shown["task_id"] for shown in run("show")[1]["messages"]] == [bad.id]
    assert dead_letters.depth(dead_letters.url) == 1


def test_a_shared_dead_letter_queue_gives_back_to_the_right_queue(sample_of, moto_aws):
    """A shared dead-letter queue returns each message to the queue that it was published to."""
    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(store=store, conf={"task_routes": {"sample_app.add": {"queue": "other"}}})
    dead_letters = DeadLetterQueue(sample, moto_aws)
    sample.app.amqp.queues.select_add("other")
    other = moto_aws.queue("other", VisibilityTimeout=0, RedrivePolicy=dead_letters.policy)
    sample.add.delay(1, 2)
    sample.digest.delay(ROWS)
    for url in (dead_letters.url, other):
        dead_letters.url = url
        dead_letters.bury()
    dead_letters.sqs.send_message(QueueUrl=dead_letters.dead_url, MessageBody="garbage")
    code, said = outcome("redrive")

    assert (code, said["moved"], sum(said["kept"].values())) == (1, 2, 1)
    assert dead_letters.depth(other) == 1
    assert dead_letters.depth(dead_letters.dead_url) == 1


def test_predefined_queues_have_dead_letters_too(sample_of, moto_aws):
    """Queues that the app names by URL, and their dead-letter queues, are read with their own client."""
    url = moto_aws.queue("there-dlq")
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}there-dlq", "maxReceiveCount": 1})
    options = {"predefined_queues": {"there": {"url": moto_aws.queue("there", RedrivePolicy=policy)}}}
    conf = {"task_default_queue": "there", "broker_transport_options": options}
    sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf=conf)
    moto_aws.client("sqs").send_message(QueueUrl=url, MessageBody="garbage")

    assert outcome("list")[1]["messages"] == 1
    assert outcome("redrive")[1]["moved"] == 1


@pytest.mark.parametrize(("words", "done"), [(("redrive",), "moved"), (("purge", "--yes"), "deleted")])
def test_messages_in_flight_elsewhere_are_reported(sample, dead_letters, words, done):
    """A message that SQS did not return is counted as kept."""
    for _ in range(2):
        sample.digest.delay(ROWS)
    dead_letters.bury()
    dead_letters.sqs.receive_message(QueueUrl=dead_letters.dead_url, VisibilityTimeout=600)
    code, said = outcome(*words)

    assert (code, said[done]) == (1, 1)
    assert said["kept"] == {"SQS did not return it: another consumer has it in flight": 1}

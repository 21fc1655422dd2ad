"""``pipeline dlq purge`` deletes messages first, and then only the payloads that no other message names."""

import pytest
from click.testing import CliRunner
from dead_letters import ROWS, DeadLetterQueue, outcome, run
from kombu import Exchange, Queue
from sample_fixtures import entered

from pipeline.cli.main import main
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws


def test_purge_asks_first(sample, dead_letters):
    """Without --yes, purge prints the count and deletes nothing unless the answer is yes."""
    tasks = [sample.digest.delay(ROWS) for _ in range(2)]
    dead_letters.bury()
    words = ["-A", "sample_app", "dlq", "purge"]
    every = CliRunner().invoke(main, words, input="n\n")
    one = CliRunner().invoke(main, [*words, "--task-id", tasks[0].id], input="n\n")
    code, said = run("purge", input="")

    assert every.exit_code == one.exit_code == code == 2
    assert f"Delete about 2 messages for good (2 of {dead_letters.dead_name})? [y/N]" in every.stderr
    assert f"Delete about 1 messages for good (1 of {dead_letters.dead_name})? [y/N]" in one.stderr
    assert every.stderr.endswith("Error: not confirmed: nothing was deleted\n")
    assert said["error"].startswith("interrupted: ")
    assert dead_letters.depth(dead_letters.dead_url) == 2


def test_purge_deletes_and_then_releases(sample, dead_letters):
    """A purged message and its payload are gone, and nothing else is; twice is safe."""
    kept, given_up = sample.digest.delay(ROWS), sample.digest.delay(ROWS)
    dead_letters.bury()
    code, said = outcome("purge", "--yes", "--task-id", given_up.id)

    assert (code, said["deleted"], said["released"]) == (0, 1, 1)
    assert [shown["task_id"] for shown in run("show")[1]["messages"]] == [kept.id]
    assert len(sample.objects()) == 1
    assert outcome("purge", "--yes")[1]["deleted"] == 1
    assert outcome("purge", "--yes") == (0, {**said, "deleted": 0, "released": 0, "released_bytes": 0})
    assert sample.objects() == []


def test_purge_keeps_a_payload_that_is_named_twice(sample, dead_letters):
    """A payload that another dead letter names stays with it."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    dead_letters.sqs.send_message(
        QueueUrl=dead_letters.dead_url, MessageBody=dead_letters.receive(dead_letters.dead_url)["Body"]
    )
    code, said = outcome("purge", "--yes", "--limit", "1")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload named by another message": 1}
    assert outcome("purge", "--yes")[1]["released"] == 1


def test_purge_keeps_a_payload_that_other_queues_name(sample, dead_letters):
    """A message that went to several queues does not take along what its copies there need."""
    media = Exchange(f"{sample.queue}-media", type="topic")
    queues = [Queue(name, media, routing_key="#") for name in (sample.queue, f"{sample.queue}-other")]
    sample.digest.apply_async((ROWS,), exchange=media.name, routing_key="x", declare=queues)
    dead_letters.bury()
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload named by another message": 1}
    assert len([key for key in sample.objects() if not str(key).endswith(".ledger")]) == 1


def test_purge_keeps_the_payload_of_a_claim_that_cannot_be_read(sample, dead_letters):
    """A claim signed with another key goes with its message, and its payload stays and is counted."""
    options = serializer.installed().options
    object.__setattr__(options, "signing_key", b"the other side's key")
    sample.digest.delay(ROWS)
    object.__setattr__(options, "signing_key", b"the key of this side")
    dead_letters.bury()
    [shown] = run("show")[1]["messages"]
    code, said = outcome("purge", "--yes")

    assert shown["key"] == sample.objects()[0]
    assert "a wrong signature" in shown["error"]
    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload kept: its claim cannot be read": 1}
    assert len(sample.objects()) == 1


def test_purge_keeps_payloads_on_request(sample, dead_letters):
    """With --keep-payloads, messages go and the sweep is left to find what they named."""
    sample.digest.delay(ROWS)
    dead_letters.bury()

    assert outcome("purge", "--yes", "--keep-payloads")[1]["deleted"] == 1
    assert len(sample.objects()) == 1


def test_a_message_that_is_not_deleted_keeps_its_payload(sample, dead_letters, proxy):
    """Purge releases no payload while SQS denies the delete."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.fail("DeleteMessageBatch", status=403)

    assert run("purge", "--yes")[0] == 2
    assert len(sample.objects()) == 1
    assert dead_letters.depth(dead_letters.dead_url) == 1


def test_a_payload_that_is_not_released_is_reported(sample, dead_letters, proxy):
    """Purge reports a payload that the store did not delete, and leaves it to the sweep."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.fail("DeleteObjects", status=403)
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert "pipeline sweep finds it" in next(iter(said["kept"]))


def test_purge_leaves_what_is_not_ours(sample_of, moto_aws):
    """Purge does not release the payload of a claim that this app rejects."""
    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(store=store, options={"threshold_bytes": 0})
    dead_letters = DeadLetterQueue(sample, moto_aws)
    sample.digest.delay(ROWS)
    dead_letters.bury()
    object.__setattr__(serializer.installed().options, "alias", "elsewhere")
    shown = run("show")[1]["messages"][0]
    code, said = outcome("purge", "--yes")

    assert shown["error"].startswith("claim rejected [store=default]")
    assert (code, said["deleted"], said["released"]) == (0, 1, 0)
    assert len(sample.objects()) == 1


def test_purge_leaves_other_apps_messages(sample_of, ministack, monkeypatch):
    """In a shared dead-letter queue, what came from another app's queue stays, and its payload with it."""
    aws = entered(ministack, monkeypatch)  # moto does not say where a message came from
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0})
    dead_letters = DeadLetterQueue(sample, aws)
    other = aws.queue("another-app", VisibilityTimeout=0, RedrivePolicy=dead_letters.policy)
    sample.digest.delay(ROWS)
    dead_letters.sqs.send_message(QueueUrl=other, MessageBody=dead_letters.receive(dead_letters.url)["Body"])
    for url in (dead_letters.url, other):
        dead_letters.url = url
        dead_letters.bury()
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    reasons = ["its source queue does not belong to this app", "payload named by another message"]
    assert said["kept"] == dict.fromkeys(reasons, 1)
    assert dead_letters.depth(dead_letters.dead_url) == len(sample.objects()) == 1

"""``pipeline dlq purge`` deletes messages first, and then only the payloads that no other message names."""

import pytest
from click.testing import CliRunner
from dead_letters import ROWS, Letters, outcome, run
from kombu import Exchange, Queue
from sample_fixtures import entered

from pipeline.cli.main import main
from pipeline.serializer import serializer

pytestmark = pytest.mark.aws


def test_purge_asks_first(sample, letters):
    """Without --yes, purge says how many it would delete; no is no, and so is nobody who could answer."""
    tasks = [sample.digest.delay(ROWS) for _ in range(2)]
    letters.bury()
    words = ["-A", "sample_app", "dlq", "purge"]
    every = CliRunner().invoke(main, words, input="n\n")
    one = CliRunner().invoke(main, [*words, "--task-id", tasks[0].id], input="n\n")
    code, said = run("purge", input="")

    assert every.exit_code == one.exit_code == code == 2
    assert f"Delete about 2 messages for good (2 of {letters.dead_name})? [y/N]" in every.stderr
    assert f"Delete about 1 messages for good (1 of {letters.dead_name})? [y/N]" in one.stderr
    assert every.stderr.endswith("Error: not confirmed: nothing was deleted\n")
    assert said["error"].startswith("interrupted: ")
    assert letters.depth(letters.dead_url) == 2


def test_purge_deletes_and_then_releases(sample, letters):
    """A purged message and its payload are gone, and nothing else is; twice is safe."""
    kept, given_up = sample.digest.delay(ROWS), sample.digest.delay(ROWS)
    letters.bury()
    code, said = outcome("purge", "--yes", "--task-id", given_up.id)

    assert (code, said["deleted"], said["released"]) == (0, 1, 1)
    assert [shown["task_id"] for shown in run("show")[1]["messages"]] == [kept.id]
    assert len(sample.objects()) == 1
    assert outcome("purge", "--yes")[1]["deleted"] == 1
    assert outcome("purge", "--yes") == (0, {**said, "deleted": 0, "released": 0, "released_bytes": 0})
    assert sample.objects() == []


def test_purge_keeps_a_payload_that_is_named_twice(sample, letters):
    """A payload that another dead letter names stays with it."""
    sample.digest.delay(ROWS)
    letters.bury()
    letters.sqs.send_message(QueueUrl=letters.dead_url, MessageBody=letters.receive(letters.dead_url)["Body"])
    code, said = outcome("purge", "--yes", "--limit", "1")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload named by another message": 1}
    assert outcome("purge", "--yes")[1]["released"] == 1


def test_purge_keeps_a_payload_that_other_queues_name(sample, letters):
    """A message that went to several queues does not take along what its copies there need."""
    media = Exchange(f"{sample.queue}-media", type="topic")
    queues = [Queue(name, media, routing_key="#") for name in (sample.queue, f"{sample.queue}-other")]
    sample.digest.apply_async((ROWS,), exchange=media.name, routing_key="x", declare=queues)
    letters.bury()
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload named by another message": 1}
    assert len(sample.objects()) == 1


def test_purge_keeps_the_payload_of_a_claim_that_cannot_be_read(sample, letters):
    """A claim signed with another key goes with its message, and its payload stays and is counted."""
    options = serializer.installed().options
    object.__setattr__(options, "signing_key", b"the other side's key")
    sample.digest.delay(ROWS)
    object.__setattr__(options, "signing_key", b"the key of this side")
    letters.bury()
    [shown] = run("show")[1]["messages"]
    code, said = outcome("purge", "--yes")

    assert shown["key"] == sample.objects()[0]
    assert "a wrong signature" in shown["error"]
    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert said["kept"] == {"payload kept: its claim cannot be read": 1}
    assert len(sample.objects()) == 1


def test_purge_keeps_payloads_on_request(sample, letters):
    """With --keep-payloads, messages go and the sweep is left to find what they named."""
    sample.digest.delay(ROWS)
    letters.bury()

    assert outcome("purge", "--yes", "--keep-payloads")[1]["deleted"] == 1
    assert len(sample.objects()) == 1


def test_a_message_that_is_not_deleted_keeps_its_payload(sample, letters, proxy):
    """While SQS refuses the delete, purge releases nothing."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.fail("DeleteMessageBatch", status=403)

    assert run("purge", "--yes")[0] == 2
    assert len(sample.objects()) == 1
    assert letters.depth(letters.dead_url) == 1


def test_a_payload_that_is_not_released_is_told(sample, letters, proxy):
    """When the store refuses the delete, the message is gone, and the payload is left to the sweep."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.fail("DeleteObjects", status=403)
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    assert "pipeline sweep finds it" in next(iter(said["kept"]))


def test_purge_leaves_what_is_not_ours(sample_of, moto_aws):
    """The payload of a claim that this app refuses is not its to release."""
    store = f"s3://{moto_aws.bucket()}/claims"
    sample = sample_of(store=store, options={"threshold_bytes": 0})
    letters = Letters(sample, moto_aws)
    sample.digest.delay(ROWS)
    letters.bury()
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
    letters = Letters(sample, aws)
    other = aws.queue("another-app", VisibilityTimeout=0, RedrivePolicy=letters.policy)
    sample.digest.delay(ROWS)
    letters.sqs.send_message(QueueUrl=other, MessageBody=letters.receive(letters.url)["Body"])
    for url in (letters.url, other):
        letters.url = url
        letters.bury()
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 1, 0)
    reasons = ["its source queue does not belong to this app", "payload named by another message"]
    assert said["kept"] == dict.fromkeys(reasons, 1)
    assert letters.depth(letters.dead_url) == len(sample.objects()) == 1

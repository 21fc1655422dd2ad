"""``pipeline dlq`` knows shared payloads: show finds the missing ones, and purge ends their uses."""

import pytest
from dead_letters import ROWS, DeadLetterQueue, outcome, run
from kombu import Exchange, Queue
from sample_fixtures import entered

import pipeline

pytestmark = pytest.mark.aws

WAITS = "shared payload: other tasks that use it have not ended"


def payloads(sample):
    return [key for key in sample.objects() if "/handles/" in key]


@pytest.mark.parametrize("share", [pipeline.shared, pipeline.put], ids=["value", "handle"])
def test_purge_ends_a_use(sample, dead_letters, share):
    """Each purged message ends the use of its task; the last one releases what they share."""
    shared = share(ROWS, uses=2)
    given_up, other = sample.digest.delay(shared), sample.digest.delay(shared)
    dead_letters.bury()
    code, said = outcome("purge", "--yes", "--task-id", given_up.id)

    assert (code, said["deleted"], said["released"]) == (1, 1, 1)
    assert said["kept"] == {WAITS: 1}
    assert len(payloads(sample)) == 2
    code, said = outcome("purge", "--yes", "--task-id", other.id)

    assert (code, said["deleted"], said["released"], said["kept"]) == (0, 1, 2, {})
    assert sample.objects() == []


def test_a_missing_shared_payload_is_shown(sample, dead_letters):
    """A task whose shared value is gone cannot run: show says so, and a redrive of what can run keeps it."""
    shared = pipeline.shared(ROWS, uses=1)
    sample.digest.delay(shared)
    dead_letters.bury()
    assert run("show")[1]["messages"][0]["error"] is None
    shared.handle.delete()

    [shown] = run("show")[1]["messages"]
    assert shown["error"].startswith(f"shared payload missing [key={shared.handle.key}]: its uses have ended")
    assert outcome("redrive", "--only-runnable")[1]["moved"] == 0


def test_a_use_goes_on_while_another_copy_of_its_message_stays(sample, dead_letters):
    """A message that is there twice is one member: it ends with the last copy."""
    sample.digest.delay(pipeline.shared(ROWS, uses=1))
    dead_letters.bury()
    body = dead_letters.receive(dead_letters.dead_url)["Body"]
    dead_letters.sqs.send_message(QueueUrl=dead_letters.dead_url, MessageBody=body)
    said = outcome("purge", "--yes", "--limit", "1")[1]

    assert (said["deleted"], said["released"]) == (1, 0)
    assert len(payloads(sample)) == 2
    assert outcome("purge", "--yes")[1]["released"] == 2
    assert sample.objects() == []


def test_a_use_is_not_ended_if_the_payloads_are_kept(sample, dead_letters):
    """With --keep-payloads, the ledger is left as it was."""
    sample.digest.delay(pipeline.shared(ROWS, uses=1))
    dead_letters.bury()
    outcome("purge", "--yes", "--keep-payloads")

    assert len(payloads(sample)) == 2


@pytest.mark.worker
def test_purge_ends_the_use_of_one_of_several_queues(sample_of, ministack, monkeypatch):
    """Where several queues got a message, a purge counts as the end in its queue; a worker ends the other."""
    aws = entered(ministack, monkeypatch)  # moto does not say where a message came from
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0})
    dead_letters = DeadLetterQueue(sample, aws)
    media, other = Exchange(f"{sample.queue}-media", type="topic"), f"{sample.queue}-other"
    queues = [Queue(name, media, routing_key="#") for name in (sample.queue, other)]
    result = sample.digest.apply_async((ROWS,), exchange=media.name, routing_key="x", declare=queues)
    dead_letters.bury()
    said = outcome("purge", "--yes")[1]

    assert (said["deleted"], said["released"], said["kept"]) == (1, 0, {WAITS: 1})
    assert len(sample.objects()) == 2
    sample.worker(pool="threads", options=("-Q", other))
    assert result.get(timeout=30)
    sample.eventually_empty()

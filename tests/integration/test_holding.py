"""Dead letters whose visibility timeout passes: they are neither sent nor deleted."""

import json
from time import sleep

import pytest
from dead_letters import ROWS, DeadLetterQueue, outcome

from pipeline.admin import received_messages

pytestmark = pytest.mark.aws


SENT = "sent, but not deleted from the dead-letter queue, so it may exist twice"


@pytest.fixture(autouse=True)
def shortly(monkeypatch):
    """Shorten the visibility timeout to two seconds, and receive without a long poll."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)
    monkeypatch.setattr(received_messages, "VISIBILITY_TIMEOUT_SECONDS", 2)
    monkeypatch.setattr(received_messages, "MARGIN_SECONDS", 0.2)


@pytest.fixture
def dead_letters(sample, moto_aws):
    """The sample's queues."""
    return DeadLetterQueue(sample, moto_aws)


def taken(proxy, dead_letters):
    """End the visibility timeout before the second receive, and let another consumer receive the message."""

    def second(request):
        if request.operation == "ReceiveMessage" and proxy.operations["ReceiveMessage"] == 2:
            sleep(2.5)
            dead_letters.sqs.receive_message(QueueUrl=dead_letters.dead_url, VisibilityTimeout=600)
        return False

    proxy.fail(second)


def test_purge_keeps_what_is_no_longer_hidden(sample, dead_letters, proxy):
    """Purge keeps a message, and its payload, whose visibility timeout ended and could not be extended."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.fail("ChangeMessageVisibilityBatch", status=403)
    taken(proxy, dead_letters)
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 0, 0)
    assert said["kept"] == {received_messages.TIMEOUT_PASSED: 1}
    assert dead_letters.depth(dead_letters.dead_url) == len(sample.objects()) == 1


def test_redrive_keeps_what_is_no_longer_hidden(sample, dead_letters, proxy):
    """Redrive keeps a message whose visibility timeout ended meanwhile, and reports a possible duplicate."""
    for number in range(2):
        sample.digest.delay([number])
    dead_letters.bury()
    proxy.delay(2.5, "SendMessage")
    code, said = outcome("redrive")

    assert (code, said["moved"]) == (1, 0)
    assert said["kept"] == {
        f"{SENT}: {received_messages.TIMEOUT_PASSED}": 1,
        received_messages.TIMEOUT_PASSED: 1,
    }
    assert (dead_letters.depth(dead_letters.url), dead_letters.depth(dead_letters.dead_url)) == (1, 2)


def test_a_delete_that_is_confirmed_too_late_releases_nothing(sample, dead_letters, proxy):
    """A delete confirmed after the visibility timeout ended proves nothing, and releases no payload."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.delay(2.5, "DeleteMessageBatch")
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 0, 0)
    assert said["kept"] == {received_messages.TIMEOUT_PASSED: 1}
    assert len(sample.objects()) == 1


def test_a_message_that_was_sent_and_not_deleted_is_reported(sample, dead_letters, proxy):
    """A redrive whose delete comes too late says that the message may be there twice."""
    sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.delay(2.5, "DeleteMessageBatch")
    code, said = outcome("redrive")

    assert (code, said["moved"]) == (1, 0)
    assert said["kept"] == {f"{SENT}: {received_messages.TIMEOUT_PASSED}": 1}
    assert dead_letters.depth(dead_letters.url) == 1


def test_visibility_timeouts_are_extended(sample, dead_letters, proxy):
    """A purge that outlasts the visibility timeout extends it, and deletes its messages and payloads."""
    for _ in range(3):
        sample.digest.delay(ROWS)
    dead_letters.bury()
    proxy.delay(1.0, "ReceiveMessage")
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"], said["kept"]) == (0, 3, 3, {})
    assert proxy.operations["ChangeMessageVisibilityBatch"] >= 1
    assert sample.objects() == []


def test_messages_are_deleted_together(sample, dead_letters, proxy):
    """Ten messages go with one call."""
    for _ in range(12):
        sample.digest.delay(ROWS)
    dead_letters.bury()

    assert outcome("purge", "--yes")[1]["released"] == 12
    assert proxy.operations["DeleteMessageBatch"] == 2


def test_each_answer_of_a_batch_is_read(sample, dead_letters, proxy):
    """A message that SQS does not delete, or does not speak of, stays, and so does its payload."""
    for _ in range(2):
        sample.digest.delay(ROWS)
    dead_letters.bury()
    failed = {"Id": "0", "Code": "InternalError", "SenderFault": False}
    proxy.fail("DeleteMessageBatch", status=200, content=json.dumps({"Failed": [failed]}).encode())
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 0, 0)
    assert said["kept"] == {"SQS did not delete it: InternalError": 1, "SQS did not delete it: no answer": 1}
    assert len(sample.objects()) == 2

"""Dead letters whose visibility timeout passes: they are neither sent nor deleted."""

import json
from time import sleep

import pytest
from dead_letters import ROWS, Letters, outcome

from pipeline.admin import received_messages

pytestmark = pytest.mark.aws


SENT = "sent, but not deleted from the dead-letter queue, so it may exist twice"


@pytest.fixture(autouse=True)
def shortly(monkeypatch):
    """Hold for two seconds, which stand for two minutes, and ask without waiting."""
    monkeypatch.setattr(received_messages, "WAIT_SECONDS", 0)
    monkeypatch.setattr(received_messages, "VISIBILITY_TIMEOUT_SECONDS", 2)
    monkeypatch.setattr(received_messages, "MARGIN_SECONDS", 0.2)


@pytest.fixture
def letters(sample, moto_aws):
    """The sample's queues."""
    return Letters(sample, moto_aws)


def taken(proxy, letters):
    """Let the hold end before the second receive, and somebody else receive the message."""

    def second(request):
        if request.operation == "ReceiveMessage" and proxy.operations["ReceiveMessage"] == 2:
            sleep(2.5)
            letters.sqs.receive_message(QueueUrl=letters.dead_url, VisibilityTimeout=600)
        return False

    proxy.fail(second)


def test_purge_leaves_alone_what_is_no_longer_held(sample, letters, proxy):
    """Where the hold cannot be extended and is over, a message is not deleted, and its payload stays."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.fail("ChangeMessageVisibilityBatch", status=403)
    taken(proxy, letters)
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 0, 0)
    assert said["kept"] == {received_messages.TIMEOUT_PASSED: 1}
    assert letters.depth(letters.dead_url) == len(sample.objects()) == 1


def test_redrive_leaves_alone_what_is_no_longer_held(sample, letters, proxy):
    """While one message is sent, the hold of another ends: that one stays, and what may be twice is told."""
    for number in range(2):
        sample.digest.delay([number])
    letters.bury()
    proxy.delay(2.5, "SendMessage")
    code, said = outcome("redrive")

    assert (code, said["moved"]) == (1, 0)
    assert said["kept"] == {
        f"{SENT}: {received_messages.TIMEOUT_PASSED}": 1,
        received_messages.TIMEOUT_PASSED: 1,
    }
    assert (letters.depth(letters.url), letters.depth(letters.dead_url)) == (1, 2)


def test_a_delete_that_is_confirmed_too_late_releases_nothing(sample, letters, proxy):
    """SQS says yes to the receipt handle of a hold that is over, so that yes proves nothing."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.delay(2.5, "DeleteMessageBatch")
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 0, 0)
    assert said["kept"] == {received_messages.TIMEOUT_PASSED: 1}
    assert len(sample.objects()) == 1


def test_a_message_that_was_sent_and_not_deleted_is_told(sample, letters, proxy):
    """A redrive whose delete comes too late says that the message may be there twice."""
    sample.digest.delay(ROWS)
    letters.bury()
    proxy.delay(2.5, "DeleteMessageBatch")
    code, said = outcome("redrive")

    assert (code, said["moved"]) == (1, 0)
    assert said["kept"] == {f"{SENT}: {received_messages.TIMEOUT_PASSED}": 1}
    assert letters.depth(letters.url) == 1


def test_holds_are_extended(sample, letters, proxy):
    """A purge that takes longer than a hold keeps its messages, and deletes them and their payloads."""
    for _ in range(3):
        sample.digest.delay(ROWS)
    letters.bury()
    proxy.delay(1.0, "ReceiveMessage")
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"], said["kept"]) == (0, 3, 3, {})
    assert proxy.operations["ChangeMessageVisibilityBatch"] >= 1
    assert sample.objects() == []


def test_messages_are_deleted_together(sample, letters, proxy):
    """Ten messages go with one call."""
    for _ in range(12):
        sample.digest.delay(ROWS)
    letters.bury()

    assert outcome("purge", "--yes")[1]["released"] == 12
    assert proxy.operations["DeleteMessageBatch"] == 2


def test_each_answer_of_a_batch_is_read(sample, letters, proxy):
    """A message that SQS does not delete, or does not speak of, stays, and so does its payload."""
    for _ in range(2):
        sample.digest.delay(ROWS)
    letters.bury()
    failed = {"Id": "0", "Code": "InternalError", "SenderFault": False}
    proxy.fail("DeleteMessageBatch", status=200, content=json.dumps({"Failed": [failed]}).encode())
    code, said = outcome("purge", "--yes")

    assert (code, said["deleted"], said["released"]) == (1, 0, 0)
    assert said["kept"] == {"SQS did not delete it: InternalError": 1, "SQS did not delete it: no answer": 1}
    assert len(sample.objects()) == 2

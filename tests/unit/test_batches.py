"""What one call carries, what an error says, and what happens when sending is interrupted."""

import os
import pickle
import threading

import pytest
from workers import eventually

from pipeline.serializer.publication import Publication
from pipeline.transport.send import batch as sending
from pipeline.transport.send import lingering
from pipeline.transport.send.batch import Batch
from pipeline.transport.send.batch_error import BatchSendError, Failed
from pipeline.transport.send.collecting import collecting
from pipeline.transport.send.entries import Entry, Parcel

URL = "http://sqs/1/queue"
FAILED = Failed("id-1", "queue", "AccessDenied", is_certain=True)


class Queues:
    """Stands in for boto3's client: records what it sends, or raises."""

    def __init__(self, error=None):
        self.calls = []
        self.error = error

    def send_message(self, **options):
        self._send([options])

    def send_message_batch(self, QueueUrl, Entries):  # noqa: N803 - boto3's names
        self._send(Entries)
        return {"Successful": [{"Id": each["Id"]} for each in Entries]}

    def _send(self, messages):
        self.calls.append([each["MessageBody"] for each in messages])
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """Let messages wait until something else sends them, unless a test says otherwise; repeat at once."""
    monkeypatch.setattr(lingering, "SECONDS", 3_600)
    monkeypatch.setattr(sending, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def gone():
    """The task ids that a batch has given up: certain ones, and unclear ones."""
    return [], []


@pytest.fixture
def batch(gone):
    def give_up(unsent, unclear):
        gone[0].extend(it.task_id for it in unsent)
        gone[1].extend(it.task_id for it in unclear)

    return Batch(1_000, give_up)


def put(batch, queues, *bodies, url=URL, **options):
    """Add one publication for each body, and send what is full."""
    for body in bodies:
        parcel = Parcel(Publication(task_id=body[:4], queue="queue"), batch.add)
        parcel.add(queues, {"QueueUrl": url, "MessageBody": body, **options})
        batch.send_full([url])


def test_the_size_of_an_entry():
    """Body, and names, types and values of attributes, in bytes of UTF-8."""
    attributes = {
        "näme": {"DataType": "String", "StringValue": "é"},
        "b": {"DataType": "Binary", "BinaryValue": b"123"},
    }
    options = {"QueueUrl": URL, "MessageBody": "bödy", "MessageAttributes": attributes}

    assert Entry(Parcel(Publication(), print), None, options).size_bytes == 5 + (5 + 6 + 2) + (1 + 6 + 3)


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([1] * 25, [10, 10, 5]),
        ([500, 500, 1], [2, 1]),
        ([400, 601, 1], [1, 2]),
        ([2_000, 1], [1, 1]),
        ([250] * 9, [4, 4, 1]),
    ],
)
def test_a_call_is_filled_up_to_the_limits(batch, sizes, calls):
    """Ten messages, or as many as the bytes allow; what is too big alone is left to SQS to judge."""
    queues = Queues()
    put(batch, queues, *["x" * size for size in sizes])
    batch.close()

    assert [len(call) for call in queues.calls] == calls


def test_no_limit_is_above_that_of_sqs():
    """Where one message may be larger on another broker, a call to SQS is not."""
    assert Batch(10**9, print)._limit_bytes == 1_048_576


def test_attributes_count(batch):
    """Attributes count towards the size of a call as bodies do."""
    queues = Queues()
    attributes = {"name": {"DataType": "String", "StringValue": "x" * 600}}
    put(batch, queues, "1", "2", MessageAttributes=attributes)
    batch.close()

    assert queues.calls == [["1"], ["2"]]


def test_fifo_groups_are_kept_apart(batch):
    """A call carries one message of each message group, in the order of the first."""
    queues = Queues()
    for name, body in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("c", "5")]:
        put(batch, queues, body, url=f"{URL}.fifo", MessageGroupId=name)
    batch.close()

    assert queues.calls == [["1", "2"], ["3", "4", "5"]]


def test_fair_queues_are_not_fifo(batch):
    """On a standard queue a message group says nothing about order."""
    queues = Queues()
    put(batch, queues, "1", "2", MessageGroupId="a")
    batch.close()

    assert queues.calls == [["1", "2"]]


def test_what_fails_is_given_up_once(batch, gone):
    """What has failed is given up when it is raised, and named by every error of the batch after that."""
    put(batch, Queues(ConnectionError()), "id-1")
    put(batch, Queues(ConnectionError()), "id-2", url=f"{URL}2")
    with pytest.raises(BatchSendError) as caught:
        batch.close()
    batch.close()

    assert [each.task_id for each in caught.value.failed] == ["id-1", "id-2"]
    assert gone == ([], ["id-1", "id-2"])


def test_sending_is_interrupted(batch, gone, caplog):
    """What was under way is unclear, what was not sent yet is certain, and the interruption goes on."""
    put(batch, Queues(KeyboardInterrupt()), "id-1")
    put(batch, Queues(), "id-2", url=f"{URL}2")
    with pytest.raises(KeyboardInterrupt):
        batch.close()

    assert gone == (["id-2"], ["id-1"])
    assert "messages not sent: 2" in caplog.text


def test_a_publication_of_several_messages(batch, gone):
    """A payload that one message has brought to a queue is not given up because another failed."""
    parcel = Parcel(Publication(task_id="id-1"), batch.add)
    parcel.add(Queues(), {"QueueUrl": URL, "MessageBody": "1"})
    parcel.add(Queues(ConnectionError()), {"QueueUrl": f"{URL}2", "MessageBody": "1"})
    with pytest.raises(BatchSendError):
        batch.close()

    assert gone == ([], [])


def test_a_forked_process_does_not_add(batch, monkeypatch):
    """A child process does not collect: its copy of the batch would not be sent."""
    assert batch.takes
    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert not batch.takes


def test_the_error_survives_pickling():
    """It crosses the pool's pipe with its text and the messages that failed."""
    error = BatchSendError("messages not sent: 1", [FAILED])
    copy = pickle.loads(pickle.dumps(error))

    assert (str(copy), copy.failed) == ("messages not sent: 1", (FAILED,))
    assert BatchSendError(*[error.args[0], [list(FAILED)]]).failed == (FAILED,)  # as JSON brings it back


def test_the_error_says_what_to_do(batch):
    """It names count, queue and code, how much is unclear, and the way out; and no body."""
    put(batch, Queues(ConnectionError()), "secret")
    with pytest.raises(
        BatchSendError, match=r"1 \[queue=queue, code=ConnectionError\]; .* 1 of them"
    ) as caught:
        batch.close()

    assert "publish those again" in str(caught.value)
    assert "secret" not in repr(caught.value)


def elsewhere(call):
    """Call a function in another thread, and wait for its end."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_a_message_does_not_wait_for_the_end(batch, monkeypatch):
    """While the publisher is busy with something else, a second thread sends what has waited long enough."""
    monkeypatch.setattr(lingering, "SECONDS", 0.01)
    queues = Queues()
    batch.add(Entry(Parcel(Publication(), batch.add), queues, {"QueueUrl": URL, "MessageBody": "1"}))
    eventually(lambda: queues.calls)
    batch.close()

    assert queues.calls == [["1"]]


def test_the_publisher_sends_what_has_waited(batch, monkeypatch):
    """A call that is not full is sent with its next message, once its first one has waited long enough."""
    queues = Queues()
    put(batch, queues, "1", "2")
    assert queues.calls == []
    monkeypatch.setattr(lingering, "SECONDS", 0)
    put(batch, queues, "3")

    assert queues.calls == [["1", "2", "3"]]


def test_nothing_is_sent_in_the_middle_of_a_publication(batch, monkeypatch):
    """What one publication adds shares a payload, and is judged once all of it is there."""
    monkeypatch.setattr(lingering, "SECONDS", 0)
    queues = Queues()
    with collecting(batch, Publication()) as parcel:
        parcel.add(queues, {"QueueUrl": URL, "MessageBody": "1"})
        elsewhere(batch.send_due)
        assert queues.calls == []
    elsewhere(batch.send_due)

    assert queues.calls == [["1"]]


def test_what_failed_meanwhile_is_raised_next(batch, gone, monkeypatch):
    """A call of the second thread of which nothing was sent stops the publisher as one of its own does."""
    monkeypatch.setattr(lingering, "SECONDS", 0)
    parcel = Parcel(Publication("t", "id-1"), batch.add)
    parcel.add(Queues(ConnectionError()), {"QueueUrl": URL, "MessageBody": "1"})
    elsewhere(batch.send_due)
    assert gone == ([], [])
    with pytest.raises(BatchSendError):
        put(batch, Queues(), "id-2", url=f"{URL}2")

    assert gone == ([], ["id-1"])


def test_a_child_that_leaves_the_block_sends_nothing(batch, monkeypatch):
    """What was collected before a fork is the parent's to send."""
    queues = Queues()
    put(batch, queues, "1")
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        batch.close()
    assert queues.calls == []
    batch.close()

    assert queues.calls == [["1"]]


def test_messages_wait_if_no_thread_starts(batch, monkeypatch):
    """Without a second thread messages wait for the next one, and none is lost."""
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    queues = Queues()
    put(batch, queues, "1")
    batch.close()

    assert queues.calls == [["1"]]


def no_thread(_):
    raise RuntimeError("can't start new thread")

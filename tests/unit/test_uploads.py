"""Payloads of a batch are stored side by side, by threads that end with it."""

import os
import threading
from contextvars import ContextVar
from dataclasses import replace

import pytest

from pipeline.claimcheck.object_metadata import TaskLabels
from pipeline.claimcheck.packs import uploads as module
from pipeline.claimcheck.packs.threads import Threads
from pipeline.claimcheck.packs.uploads import Uploads
from pipeline.errors import StoreUnavailableError
from pipeline.serializer.publication import Publication
from pipeline.stores.memory import MemoryStore
from pipeline.transport.send.batch import Batch
from pipeline.transport.send.batch_error import BatchSendError
from pipeline.transport.send.entries import Parcel


class Wrapped:
    """A store in memory, whose verbs a test may change."""

    def __init__(self):
        self.store = MemoryStore("claims")
        self.calls = 0

    def __getattr__(self, name):
        return getattr(self.store, name)


class Meeting(Wrapped):
    """A store whose PUTs wait for each other."""

    def __init__(self, parties):
        super().__init__()
        self.barrier = threading.Barrier(parties)

    def put(self, *payload):
        self.barrier.wait(10)
        self.store.put(*payload)


class Down(Wrapped):
    """A store that never answers, and counts how often it was asked."""

    def put(self, *_):
        self.calls += 1
        raise StoreUnavailableError("store unavailable [key=k]: no answer")


class Queue:
    """SQS, as far as a batch knows it: notes what names a payload that is not stored."""

    def __init__(self, store):
        self.store, self.sent, self.early = store, [], []

    def send_message_batch(self, *, QueueUrl, Entries):  # noqa: N803 - boto3's names
        stored = {found.key for found in self.store.list()}
        self.sent += [entry["MessageBody"] for entry in Entries]
        self.early += [key for key in self.sent if key not in stored]
        return {"Successful": Entries, "Failed": []}

    def send_message(self, **options):
        self.send_message_batch(QueueUrl="", Entries=[{"Id": "0", **options}])


def uploads_of(claimcheck, store, threads_count, pack_bytes=0):
    changes = {"upload_threads_count": threads_count, "pack_bytes": pack_bytes}
    options = replace(claimcheck.options, store_retry_seconds=0.01, **changes)
    return Uploads(replace(claimcheck, store=store, options=options))


def add(uploads, claimcheck, count):
    sealed = [claimcheck.seal(os.urandom(100)) for _ in range(count)]
    return [uploads.add(each, TaskLabels("t", "id", "q"), 0.0, lambda *_: None) for each in sealed]


def test_uploads_run_side_by_side(claimcheck):
    """As many payloads are stored at the same time as there are threads."""
    store = Meeting(4)
    uploads = uploads_of(claimcheck, store, 4)
    collected = add(uploads, claimcheck, 8)
    uploads.threads.close()
    for each in collected:
        each.upload.wait()

    assert {each.claim.key for each in collected} == {found.key for found in store.list()}


@pytest.mark.parametrize("url", ["https://sqs/1/queue", "https://sqs/1/queue.fifo"])
def test_no_message_is_sent_before_its_payload_is_stored(claimcheck, url):
    """Each message waits for its payload, whether a thread sends it or, in order, the publisher."""
    store = Meeting(1)
    uploads, queue = uploads_of(claimcheck, store, 3), Queue(store)
    batch = Batch(100_000, print, uploads)
    for number in range(35):
        [collected] = add(uploads, claimcheck, 1)
        parcel = Parcel(Publication(task_id=str(number), collected=[collected]), batch.add)
        group = {"MessageGroupId": "g"} if url.endswith(".fifo") else {}
        parcel.add(queue, {"QueueUrl": url, "MessageBody": collected.claim.key, **group})
        batch.send_full([url])
    batch.close()

    assert len(queue.sent) == len({*queue.sent}) == 35
    assert queue.early == []


def test_a_message_without_payload_is_not_sent(claimcheck):
    """The error of the batch names the tasks whose payloads were not stored, and why; the others are sent."""
    uploads, given_up = uploads_of(claimcheck, Down(), 2), []
    queue = Queue(MemoryStore("claims"))
    batch = Batch(100_000, lambda *failed: given_up.extend(failed), uploads)
    [collected] = add(uploads, claimcheck, 1)
    publications = Publication(task_id="lost", collected=[collected]), Publication(task_id="small")
    for publication in publications:
        Parcel(publication, batch.add).add(queue, {"QueueUrl": "q", "MessageBody": "inline"})
    with pytest.raises(BatchSendError) as caught:
        batch.close()

    assert [each.task_id for each in caught.value.failed] == ["lost"]
    assert isinstance(caught.value.__cause__, StoreUnavailableError)
    assert queue.sent == ["inline"]
    assert given_up == [[publications[0]], []]


def test_a_store_that_is_down_is_waited_for_once(claimcheck):
    """Uploads that begin after one has waited in vain fail at once, with its error."""
    store = Down()
    uploads = uploads_of(claimcheck, store, 1)
    collected = add(uploads, claimcheck, 5)
    uploads.threads.close()
    for each in collected:
        with pytest.raises(StoreUnavailableError, match="no answer"):
            each.upload.wait()

    assert store.calls < 5


def test_memory_is_bounded(claimcheck, monkeypatch):
    """A payload waits until those on their way leave room for it."""
    monkeypatch.setattr(module, "IN_FLIGHT_BYTES", 250)
    uploads = uploads_of(claimcheck, Meeting(1), 8)
    collected = add(uploads, claimcheck, 6)

    assert sum(not each.upload.is_over for each in collected) <= 2
    uploads.threads.close()


class TestThreads:
    def test_none_is_left(self):
        """The threads of a batch begin with the first call, and end when it is closed."""
        before = threading.active_count()
        threads = Threads(3)
        assert threading.active_count() == before
        calls = [threads.run(lambda number=number: number) for number in range(10)]
        threads.close()

        assert [call.result() for call in calls] == list(range(10))
        assert threading.active_count() == before

    def test_a_call_has_the_context_of_its_caller(self):
        """Context variables, and so traces, are those of whoever publishes."""
        variable = ContextVar("variable", default=0)
        variable.set(1)
        threads = Threads(1)
        call = threads.run(variable.get)
        threads.close()

        assert call.result() == 1

    def test_a_call_runs_here_if_no_thread_can_start(self, monkeypatch):
        """At the limit of threads, or when the interpreter ends, calls run in the caller's thread."""

        def fail(_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        threads = Threads(2)
        call = threads.run(threading.get_ident)

        assert call.result() == threading.get_ident()

    def test_after_the_end_a_call_runs_here(self):
        """Closed threads never begin again."""
        threads = Threads(2)
        threads.close()

        assert threads.run(threading.get_ident).result() == threading.get_ident()

    def test_what_has_not_begun_can_be_dropped(self):
        """After an interrupt nothing begins any more, and what runs is waited for."""
        threads, go = Threads(1), threading.Event()
        running = threads.run(lambda: go.wait(10))
        waiting = threads.run(lambda: None)
        while not running.running():
            pass
        threads.drop()
        go.set()
        threads.close()

        assert running.result()
        assert waiting.cancelled()

    def test_an_error_is_that_of_the_call(self):
        """Whoever waits for a call gets its error."""
        threads = Threads(1)
        call = threads.run(lambda: 1 / 0)
        threads.close()

        with pytest.raises(ZeroDivisionError):
            call.result()

"""A child of a pool makes its clients when it starts."""

import threading

from celery import signals

from pipeline import undo
from pipeline.stores.memory import MemoryStore
from pipeline.worker.steps import _prepare_children


class SlowStore:
    """Takes its time to prepare."""

    def __init__(self):
        self.allowed, self.prepared = threading.Event(), threading.Event()

    def prepare(self):
        """Wait, as for credentials."""
        assert self.allowed.wait(10)
        self.prepared.set()


def test_a_child_that_starts_does_not_wait_for_its_clients():
    """The store is prepared in a thread: Celery kills a child that does not answer in time."""
    store = SlowStore()
    with undo.undone():
        _prepare_children(store)
        signals.worker_process_init.send(sender=None)

        assert not store.prepared.is_set()
        store.allowed.set()
        assert store.prepared.wait(10)


def test_a_store_that_needs_no_preparation_is_left_alone():
    """Only a store that can be prepared is."""
    before = list(signals.worker_process_init.receivers)
    with undo.undone():
        _prepare_children(MemoryStore())

        assert signals.worker_process_init.receivers == before

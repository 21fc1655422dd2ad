"""What unit tests share: a claim check over a memory store that counts."""

import os
import random
import signal
from dataclasses import replace

import pytest
from billiard.pool import soft_timeout_sighandler
from door_channel import receive  # noqa: F401 - a fixture
from gateway_client import bucket, client  # noqa: F401 - fixtures
from kombu.utils import json
from list_sink import ListSink
from money import money  # noqa: F401 - a fixture

from pipeline.claimcheck import installed
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.message_size import Wire
from pipeline.deferred.child_pipe import Reuses
from pipeline.idempotency import execution
from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.options import Options
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.testing import CountingStore


@pytest.fixture
def store():
    return CountingStore(MemoryStore("claims"))


@pytest.fixture
def threshold():
    return 262_144


@pytest.fixture
def options():
    return {}


@pytest.fixture
def claimcheck(store, threshold, options):
    chosen = Options(threshold_bytes=threshold, **options)
    recorder = Recorder(NullSink())
    made = ClaimCheck(
        store, Codec(serializer.KOMBU_TYPES, chosen.codec), chosen, Wire.of("sqs", 4_096), recorder
    )
    serializer.install(made)
    yield made
    serializer.install(None)
    recorder.close()


@pytest.fixture
def sink():
    return ListSink()


@pytest.fixture
def recorder(sink):
    recorder = Recorder(sink, interval_seconds=3600)
    yield recorder
    recorder.close()


@pytest.fixture
def reuses():
    """The notes of this test alone, on an open pipe."""
    opened = Reuses()
    opened.open()
    yield opened
    for descriptor in (opened._reader, opened._writer):
        os.close(descriptor)


@pytest.fixture
def no_wait(monkeypatch):
    """A call that finds another in progress does not wait for its result."""
    monkeypatch.setattr(execution, "IN_PROGRESS_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(execution, "POLL_SECONDS", 0.001)


@pytest.fixture
def others(claimcheck):
    """Make a store of others known as ``uploads``, and return it."""
    store = MemoryStore("input")
    installed.install(replace(claimcheck, stores={"uploads": store}))
    return store


@pytest.fixture(scope="session")
def noise():
    """300 KB that no compression helps."""
    return random.Random(7).randbytes(300_000)


@pytest.fixture
def limit_comes():
    """A function that raises a soft time limit, as in a process of the prefork pool."""

    def come(*_):
        signal.raise_signal(signal.SIGUSR1)
        for _ in range(100):  # the interpreter looks for signals as it goes round
            pass

    before = signal.signal(signal.SIGUSR1, soft_timeout_sighandler)
    yield come
    assert signal.signal(signal.SIGUSR1, before) is soft_timeout_sighandler


class Slow:
    pass


@pytest.fixture
def slow(limit_comes):
    """A value that takes so long to be decoded that the soft time limit comes first."""
    json.register_type(Slow, "slow", lambda _: 0, limit_comes)
    yield Slow()
    json._encoders.pop(Slow)
    json._decoders.pop("slow")

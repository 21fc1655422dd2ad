"""What unit tests share: a claim check over a memory store that counts."""

import random
import signal

import pytest
from billiard.pool import soft_timeout_sighandler
from kombu.utils import json

from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.message_size import Wire
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


@pytest.fixture(scope="session")
def noise():
    """300 KB that no compression helps."""
    return random.Random(7).randbytes(300_000)


@pytest.fixture
def limit_comes():
    """Hear soft time limits as a process of the prefork pool does, and say how to get one."""

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

"""What unit tests share: a claim check over a memory store that counts."""

import random

import pytest

from pipeline import serializer
from pipeline.claimcheck import ClaimCheck
from pipeline.codec import Codec
from pipeline.metrics import NullSink, Recorder
from pipeline.options import Options
from pipeline.stores.memory import MemoryStore
from pipeline.testing import CountingStore
from pipeline.wire import Wire


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

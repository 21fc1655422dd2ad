"""What a publisher's process holds while it uploads."""

import random
import tracemalloc

import pytest

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Claim, Inline, Message, size_bytes
from pipeline.results import Outgoing
from pipeline.serializer import serializer

NO_SIGNATURES = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
NOISE = random.Random(4).randbytes(20_000_000)


class WatchedStore:
    """Keeps nothing, and notes how much memory is in use when a payload arrives."""

    prefix = "watched"
    held_bytes = 0

    def put(self, key, payload, metadata):
        """Record the memory in use."""
        self.held_bytes = tracemalloc.get_traced_memory()[0]


@pytest.fixture
def store():
    return WatchedStore()


@pytest.mark.parametrize(
    "body", [([NOISE], {}, NO_SIGNATURES), {"result": Outgoing(NOISE)}], ids=["task", "result"]
)
def test_a_body_is_once_in_memory_while_it_is_uploaded(claimcheck, store, body):
    """Beside the caller's own value there is one encoded copy, and no message written only to be weighed."""
    tracemalloc.start()
    try:
        serializer.encode(body)
    finally:
        tracemalloc.stop()

    assert len(NOISE) < store.held_bytes < 1.1 * len(NOISE)


@pytest.mark.parametrize("key", [None, b"k" * 32])
@pytest.mark.parametrize("size", [0, 1, 100, 150, 255, 256, 65_400, 65_535, 65_536, 1_000_000])
def test_a_message_s_size_is_known_before_it_is_written(claimcheck, size, key):
    """The computed size is that of what is written, for payloads of every size, signed or not."""
    data = bytes(size)
    inline = Inline(data=data, codec="msgpack", compression="none", expanded_bytes=size)
    message = Message(shape="task", payload=inline, embed=b"e" * 300)

    assert size_bytes(message, key) == len(wire_form.write(message, key))


def test_a_claim_s_size_is_known_too(claimcheck):
    """A claim has no bytes to leave out."""
    body = serializer.encode(([NOISE], {}, NO_SIGNATURES))
    message = wire_form.read(body)

    assert isinstance(message.payload, Claim)
    assert size_bytes(message) == len(body)

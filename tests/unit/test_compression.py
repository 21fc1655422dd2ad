"""Compression: where it pays, and bounded on the way back."""

import base64
import mmap
import os
import random
import tracemalloc

import pytest

from benchmarks.memory import peak_bytes, reset_peak, resident_bytes
from pipeline.claimcheck import compression
from pipeline.claimcheck.compression import compress, expand, zstd
from pipeline.claimcheck.memory import PAGED_BYTES, allocated, is_paged
from pipeline.errors import ClaimError, PayloadCorruptError

PAGE = bytes(mmap.PAGESIZE)
TEXT = b"the quick brown fox jumps over the lazy dog " * 50_000


@pytest.mark.parametrize("raw", [b"", b"x", TEXT[:600], TEXT, os.urandom(3_000_000)])
def test_what_is_compressed_expands_to_itself(raw):
    """Any bytes come back, compressed or not."""
    name, data = compress(raw)

    assert expand(name, data, len(raw)) == raw


def test_text_is_compressed_and_noise_is_not():
    """A sample decides: text shrinks, random bytes and tiny bodies are left alone."""
    noise = os.urandom(2_000_000)

    assert compress(TEXT)[0] == "zstd"
    assert len(compress(TEXT)[1]) < len(TEXT) / 10
    assert compress(noise) == ("none", noise)
    assert compress(b"tiny" * 10) == ("none", b"tiny" * 10)
    assert compress(os.urandom(1000))[0] == "none"


@pytest.mark.parametrize("promised", [0, 10, len(TEXT) - 1, len(TEXT) + 1])
def test_another_size_than_promised_is_corrupt(promised):
    """Expansion must end exactly where the claim says."""
    with pytest.raises(PayloadCorruptError, match=f"{promised} bytes"):
        expand("zstd", compress(TEXT)[1], promised)


def test_a_bomb_is_stopped_while_it_goes_off():
    """A payload that would expand to 500 MB costs no more memory than it promised to need."""
    bomb = zstd.compress(b"\0" * 500_000_000, 1)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadCorruptError):
            expand("zstd", bomb, 1_000_000)

        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("broken", [b"", b"garbage!", compress(TEXT)[1][:-1], compress(TEXT)[1] + b"x"])
def test_broken_frames_are_corrupt(broken):
    """A cut, extended or foreign frame is corrupt."""
    with pytest.raises(PayloadCorruptError):
        expand("zstd", broken, len(TEXT))


@pytest.mark.parametrize("size_bytes", [PAGED_BYTES - 1, PAGED_BYTES, 3 * PAGED_BYTES + 1])
def test_what_was_expanded_is_given_back(size_bytes):
    """The compressed bytes of a large payload leave memory while it is expanded; the rest is as ever."""
    raw = (
        random.Random(1).randbytes(size_bytes // 4).hex().encode() + bytes(size_bytes % 4) + b"x" * size_bytes
    )
    packed = zstd.compress(raw, 1)
    data = allocated(len(packed))
    data[:] = packed

    assert expand("zstd", data, len(raw)) == raw
    assert (data[: len(PAGE)] == PAGE) == is_paged(data)


@pytest.mark.parametrize("size_bytes", [180_000, 360_000])
def test_base64_is_compressed(size_bytes):
    """base64 leaves three quarters, whether its payload is sampled or not."""
    assert compress(base64.b64encode(os.urandom(size_bytes)))[0] == "zstd"


def test_a_large_payload_is_compressed_once_into_memory():
    """While it is compressed, a payload needs the memory of the result and no more."""
    raw = base64.b64encode(os.urandom(48 * 1024**2))
    reset_peak()
    before = resident_bytes()
    name, packed = compress(raw)

    assert peak_bytes() - before < 1.2 * len(packed)
    assert expand(name, packed, len(raw)) == raw


def test_an_unknown_compression_raises():
    """A compression of a later release raises an error that names it."""
    with pytest.raises(ClaimError, match="compression=brotli"):
        expand("brotli", b"", 0)


def test_the_sample_sees_the_whole_payload():
    """Noise with text at its end is sampled at its start, middle and end."""
    assert compression._pays(compression._sample(os.urandom(500_000) + TEXT))

"""Large texts and binaries are read piece by piece, out of memory that is given back."""

import tracemalloc

import msgspec
import pytest

from pipeline.claimcheck.codec import Codec, large_texts
from pipeline.claimcheck.codec.large_texts import LEAST_BYTES, taken_out
from pipeline.claimcheck.memory import PAGED_BYTES, allocated, is_paged
from pipeline.errors import PayloadCorruptError
from pipeline.serializer.serializer import KOMBU_TYPES

CODEC = Codec(KOMBU_TYPES)
TEXT = "0123456789abcdef" * (PAGED_BYTES // 16)
WIDE = "Grüße €𝄞" * (PAGED_BYTES // 16)
EVERYTHING = [None, True, 1, -1, 200, -100, 70_000, -70_000, 2**40, -(2**40), 2**63, 1.5, "t", "t" * 40]
EVERYTHING += ["t" * 300, "t" * 70_000, b"b", b"b" * 300, b"b" * 70_000, [1] * 20, {"k": {"l": []}}, {1, 2}]
EVERYTHING += [{str(number): number for number in range(20)}, 2**80, "\ud800"]


def paged(data):
    """Return a payload as it is in memory that can be given back."""
    view = allocated(len(data))
    view[:] = data
    return view


@pytest.mark.parametrize(
    "value",
    [
        [[TEXT], {}, []],
        [[*EVERYTHING, TEXT, *EVERYTHING], {"key": TEXT.encode(), "next": WIDE}, EVERYTHING],
        [[WIDE, {"deep": [[TEXT + "end"]]}], {}, []],
        [[{TEXT: 1}], {}, []],
        [[TEXT, "x" * (PAGED_BYTES // 2)], {}, []],
        [[["records"] * PAGED_BYTES], {}, []],
        b"b" * PAGED_BYTES,
    ],
    ids=["text", "among others", "deep", "key", "medium", "no text", "alone"],
)
def test_a_value_arrives_equal(value):
    """Whatever stands before, beside and behind large texts and binaries, the value is the same."""
    name, data = CODEC.encode(value)

    assert CODEC.decode(name, paged(data)) == value


def test_a_large_text_is_in_memory_once():
    """The text grows while the payload's memory is given back: neither a list of parts nor a copy is made."""
    data = paged(CODEC.encode([[TEXT * 4, 1.5], {}, []])[1])
    assert is_paged(data)
    tracemalloc.start()
    try:
        (text, number), *_ = CODEC.decode("msgpack", data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (len(text), number) == (4 * len(TEXT), 1.5)
    assert peak < 1.4 * len(text)
    assert bytes(data[1024**2 : 4 * 1024**2]).count(0) == 3 * 1024**2


def test_a_payload_with_much_beside_its_texts_is_read_as_it_is():
    """The rest would be copied, so nothing is taken out where the rest is large; nor out of common memory."""
    data = CODEC.encode([[TEXT, list(range(PAGED_BYTES))], {}, []])[1]

    assert taken_out(paged(data))[1] == []
    assert taken_out(CODEC.encode([[TEXT], {}, []])[1])[1] == []


@pytest.mark.parametrize(
    "cut",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + b"\xff" + data[201:],
        lambda data: data[:-200] + b"\xc3" + data[-199:],
        lambda data: data + b"\xc0",
        lambda data: data.replace(b"\xcb", b"\xc1"),
    ],
    ids=["short", "half", "no text", "no text at its end", "long", "reserved"],
)
def test_what_is_broken_is_corrupt(cut):
    """A size beyond the end, bytes that are no text, and whatever else is wrong, is a corrupt payload."""
    data = cut(CODEC.encode([[TEXT, 1.5, TEXT, "e" * 300], {}, []])[1])

    with pytest.raises(PayloadCorruptError):
        CODEC.decode("msgpack", paged(data))


@pytest.mark.parametrize("number", [b"\0\0\0\7", b"\xff\xff\xff\xff"])
def test_an_extension_that_stands_for_no_text_is_corrupt(number):
    """A sender who writes what stands for a large text gets none that is not there."""
    forged = msgspec.msgpack.Ext(large_texts.LARGE_TEXT, number)

    with pytest.raises(PayloadCorruptError):
        CODEC.decode("msgpack", paged(msgspec.msgpack.encode([[TEXT, forged], {}, []])))
    with pytest.raises(PayloadCorruptError):
        CODEC.decode("msgpack", msgspec.msgpack.encode([["text", forged], {}, []]))


def test_a_text_of_the_smallest_size_is_taken_out():
    """The bound itself counts as large."""
    data = paged(msgspec.msgpack.encode(["x" * LEAST_BYTES] * 4))

    assert [len(each) for each in taken_out(data)[1]] == [LEAST_BYTES] * 4

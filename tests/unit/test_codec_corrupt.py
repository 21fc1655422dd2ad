"""Bytes that the codec does not decode: broken, foreign or hostile."""

import traceback

import ormsgpack
import pytest
from kombu.utils import json
from money import Money

from pipeline.claimcheck.codec import Codec
from pipeline.errors import PayloadCorruptError
from pipeline.serializer.serializer import KOMBU_TYPES

codec = Codec(KOMBU_TYPES)


@pytest.mark.parametrize("name", ["msgpack", "pickle"])
def test_broken_bytes_are_corrupt(name):
    """Bytes that hold no value raise PayloadCorruptError, for every error of the parser."""
    with pytest.raises(PayloadCorruptError, match=f"{name} cannot read it"):
        Codec(KOMBU_TYPES, name).decode(name, b"\xc1\xff{")


class Huge(Money):
    def __reduce__(self):
        return out_of_memory, (0,)


def out_of_memory(_):
    raise MemoryError


def test_an_error_has_no_text_of_a_broken_payload():
    """What a parser says of a value goes no further: tracebacks reach logs and monitors."""
    broken = ormsgpack.packb(ormsgpack.Ext(1, ormsgpack.packb(["unheard of", "secret"])))
    with pytest.raises(PayloadCorruptError) as caught:
        codec.decode("msgpack", broken)

    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["msgpack", "pickle"])
def test_a_lack_of_memory_is_no_corruption(name):
    """Bytes for which this process has too little memory are not reported as corrupt."""
    json.register_type(Huge, "huge", lambda huge: huge.cents, out_of_memory)
    either = Codec(KOMBU_TYPES, name)
    try:
        codec, data = either.encode([Huge(1)])
        with pytest.raises(MemoryError):
            either.decode(codec, data)
    finally:
        json._encoders.pop(Huge)
        json._decoders.pop("huge")


def bomb(extensions, lists):
    """Return bytes of extensions in lists in extensions."""
    data = b"\x01"
    for _ in range(extensions):
        content = b"\x92\xa6nested" + data
        data = b"\x91" * lists + b"\xc9" + len(content).to_bytes(4) + b"\x02" + content
    return data


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x01\x02",
        b"\x81\x92\x01\x02\x03",
        b"\x90",
        b"\x81\xa1a\xc7\x00\x03",
        b"\x81\xa1a" + bomb(100, 1000),
        b"\x81\xa1a" + bomb(30, 1),
        b"\x81\xa1a" + b"\x91" * 5000 + b"\x01",
        b"\x81\xa1a\xc6" + (1_100_000).to_bytes(4) + bytes(1_100_000),
        b"\x81\xa1a\xdd" + (70_000).to_bytes(4) + b"\x90" * 70_000,
    ],
    ids=["int key", "tuple key", "list", "extension", "bomb", "extensions", "deep", "large", "lists"],
)
def test_a_hostile_embed_is_corrupt(data):
    """An embed that could cost the main process much is not decoded: other keys, depth, size."""
    with pytest.raises(PayloadCorruptError, match=r"^embed"):
        codec.decode_embed(data)


@pytest.mark.parametrize(
    "data",
    [b"\x91" * 100_000 + b"\x01", bomb(300, 1_000), bomb(30, 30_000), bomb(2_000, 1)],
    ids=["lists", "extensions of lists", "deep extensions", "extensions"],
)
def test_nesting_never_ends_the_process(data):
    """However foreign bytes nest, across extensions too, they are corrupt and nothing worse."""
    with pytest.raises(PayloadCorruptError, match="msgpack cannot read it"):
        codec.decode("msgpack", data)


def test_keys_and_elements_that_are_equal_are_corrupt():
    """Foreign bytes merge no keys and no elements."""
    for name, content in (("map", [1, 1, 1, 2]), ("set", [[1], [1]]), ("frozenset", ["a", "a"])):
        data = ormsgpack.packb(ormsgpack.Ext(2, ormsgpack.packb([name, content])))
        with pytest.raises(PayloadCorruptError):
            codec.decode("msgpack", data)

"""Values to bytes and back."""

import gc
import traceback
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from http import HTTPStatus
from uuid import UUID

import pytest
from celery.utils.functional import regen
from kombu.utils import json

from pipeline.codec import Codec
from pipeline.errors import ClaimError, PayloadCorruptError, PayloadEncodeError
from pipeline.serializer import KOMBU_TYPES

codec = Codec(KOMBU_TYPES)
Point = namedtuple("Point", "x y")


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return self.cents == other.cents

    __hash__ = None


class Described:
    def __json__(self):
        return {"described": True}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**63),
        2**64,
        -(2**200),
        1.5,
        float("inf"),
        "",
        "päyload ✓",
        b"",
        b"\xff\x00",
        [],
        {},
        datetime(2026, 1, 2, 3, 4, 5, 6),
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        date(2026, 1, 2),
        time(1, 2, 3, 4),
        Decimal("1.10"),
        Decimal("-0"),
        UUID(int=7),
        {"__type__": "datetime", "__value__": "not one"},
        {1: "int", None: "none", "a": [{"b": 1}]},
    ],
)
def test_values_come_back_equal(value):
    """Every value comes back equal and of its own type, alone and nested."""
    nested = {"a": [value, {"b": value}]}

    assert codec.decode(*codec.encode(nested)) == nested
    assert type(codec.decode(*codec.encode(value))) is type(value)


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "not this"


class Hollow(list):
    def __iter__(self):
        return iter([7, 8])


class Ratio(float):
    pass


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        Point(1, 2),
        OrderedDict(a=1),
        Described(),
        Text("this"),
        Hollow(),
        Ratio(0.5),
        HTTPStatus.OK,
        [regen(i for i in range(3))],
        {"tasks": regen(iter([{"a": (1,)}]))},
    ],
)
def test_values_come_back_as_from_json(value):
    """Where JSON gives another type back, so do we, and the same one."""
    once = codec.encode(value)

    assert once[0] == "msgpack"
    assert codec.decode(*once) == json.loads(json.dumps(value))


def test_registered_types_come_back():
    """A type that the application registered with Kombu round-trips, nested in other values."""
    json.register_type(Money, "money", lambda money: money.cents, Money)
    try:
        assert codec.decode(*codec.encode([{"price": Money(5)}])) == [{"price": Money(5)}]
    finally:
        json._encoders.pop(Money)
        json._decoders.pop("money")


def test_what_msgpack_lacks_travels_as_json():
    """A lone surrogate and a nesting beyond MessagePack's reach travel as JSON, and come back equal."""
    deep = 1
    for _ in range(300):
        deep = [deep]

    assert codec.encode("\ud800")[0] == "json"
    assert codec.decode(*codec.encode("\ud800")) == "\ud800"
    assert codec.decode(*codec.encode(deep)) == deep


def test_bytes_do_not_inflate():
    """A million bytes take a million bytes and a header."""
    assert len(codec.encode(b"\0" * 1_000_000)[1]) < 1_000_010


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        ([[1, 2], {"rows": [{"when": {1, 2}}]}], r"\[1\]\['rows'\]\[0\]\['when'\]", "builtins.set"),
        ({"a b secret": object()}, r"\[key 0\]", "builtins.object"),
        ([object()], r"\[0\]", "builtins.object"),
        (Money(3), "body", "Money"),
        ([lambda: 0], r"\[0\]", "builtins.function"),
    ],
)
def test_an_unwritable_value_is_named_by_path_and_type(value, path, kind):
    """The error names where the value is and what it is, and never what it says."""
    with pytest.raises(PayloadEncodeError, match=rf"path={path}, type=.*{kind}") as caught:
        codec.encode(value)

    assert "secret" not in str(caught.value)


def test_a_value_that_contains_itself_is_refused():
    """A cycle ends in an error, not in a crash or an endless loop."""
    cycle = []
    cycle.append(cycle)

    with pytest.raises(PayloadEncodeError):
        codec.encode(cycle)


@pytest.mark.parametrize("name", ["msgpack", "json"])
def test_broken_bytes_are_corrupt(name):
    """Bytes that hold no value raise PayloadCorruptError, whatever the parser raised."""
    with pytest.raises(PayloadCorruptError, match=f"{name} cannot read it"):
        codec.decode(name, b"\xc1\xff{")


class Huge(Money):
    def __reduce__(self):
        return no_room, (0,)


def no_room(_):
    raise MemoryError


def test_no_text_of_a_broken_payload_is_told():
    """What a parser says of a value goes no further: tracebacks reach logs and monitors."""
    broken = b'{"__type__": "unheard of", "__value__": "secret"}'
    with pytest.raises(PayloadCorruptError) as caught:
        codec.decode("json", broken)

    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", ["msgpack", "json", "pickle"])
def test_a_lack_of_memory_is_no_corruption(name):
    """Bytes that this process has no room for may be as good as any."""
    json.register_type(Huge, "huge", lambda huge: huge.cents, no_room)
    either = Codec(KOMBU_TYPES, "pickle" if name == "pickle" else "msgpack")
    try:
        codec, data = either.encode([Huge(1), "\ud800" if name == "json" else ""])
        assert codec == name
        with pytest.raises(MemoryError):
            either.decode(codec, data)
    finally:
        json._encoders.pop(Huge)
        json._decoders.pop("huge")


def test_pickle_needs_the_application_s_word():
    """Nothing is unpickled unless the application chose pickle by name."""
    pickling = Codec(KOMBU_TYPES, "pickle")
    name, data = pickling.encode({1, 2})

    assert pickling.decode(name, data) == {1, 2}
    with pytest.raises(ClaimError, match="codec=pickle"):
        codec.decode(name, data)


def test_an_unpicklable_value_is_named():
    """Pickle's failures name path and type as well."""
    with pytest.raises(PayloadEncodeError, match=r"path=\[0\], type=builtins.function"):
        Codec(KOMBU_TYPES, "pickle").encode([lambda: 0])


def test_an_unknown_codec_is_a_wrong_setting():
    """A codec that does not exist is refused when it is set."""
    with pytest.raises(ValueError, match="codec='yaml'"):
        Codec(KOMBU_TYPES, "yaml")


def test_the_garbage_collector_is_left_as_it_was():
    """Decoding holds the collector off and turns it on again, also after a failure."""
    with pytest.raises(PayloadCorruptError):
        codec.decode("msgpack", b"\xc1")

    assert gc.isenabled()

    gc.disable()
    try:
        codec.decode("msgpack", b"\x90")
        assert not gc.isenabled()
    finally:
        gc.enable()


EMBED = {"callbacks": None, "chain": [{"task": "t", "args": [date(2026, 1, 2), b"x", 2**70]}], "chord": None}


def test_an_embed_comes_back_equal():
    """Callbacks, chain and chord of a task come back equal, registered types in them too."""
    assert codec.decode_embed(codec.encode_embed(EMBED)) == EMBED


@pytest.mark.parametrize("args", [[{1: 2}], [{(1, 2): 3}], [object()]])
def test_an_embed_with_other_keys_than_text_is_not_written(args):
    """What decode_embed would not read, encode_embed raises for, so that the publisher can detach it."""
    with pytest.raises(PayloadEncodeError):
        codec.encode_embed(EMBED | {"chord": {"args": args}})


def nested(extensions, lists):
    data = b"\x01"
    for _ in range(extensions):
        data = b"\x91" * lists + b"\xc9" + len(data).to_bytes(4) + b"\x01" + data
    return b"\x81\xa1a" + data


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x01\x02",
        b"\x81\x92\x01\x02\x03",
        b"\x90",
        b"\x81\xa1a\xc7\x00\x03",
        nested(100, 1000),
        nested(30, 1),
        b"\x81\xa1a" + b"\x91" * 5000 + b"\x01",
        b"\x81\xa1a\xc6" + (300_000).to_bytes(4) + bytes(300_000),
    ],
    ids=["int key", "tuple key", "list", "extension", "bomb", "extensions", "deep", "large"],
)
def test_a_hostile_embed_is_corrupt(data):
    """An embed that could cost the main process much is not decoded: other keys, depth, size."""
    with pytest.raises(PayloadCorruptError, match=r"^embed"):
        codec.decode_embed(data)

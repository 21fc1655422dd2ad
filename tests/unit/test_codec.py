"""Values to bytes and back."""

import gc
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from http import HTTPStatus
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from celery.local import PromiseProxy
from celery.utils.functional import regen
from declared_classes import Invoice, Item, Order
from kombu.utils import json
from money import Money

from pipeline.claimcheck.codec import Codec
from pipeline.errors import ClaimError, PayloadCorruptError, PayloadEncodeError
from pipeline.serializer.serializer import KOMBU_TYPES

codec = Codec(KOMBU_TYPES)
Point = namedtuple("Point", "x y")


class Broken:
    pass


class FrozenLike(datetime):
    pass


class Incomparable(OrderedDict):
    def __eq__(self, other):
        raise RuntimeError("secret")

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


def test_registered_types_come_back(money):
    """A type that the application registered with Kombu round-trips, nested in other values."""
    assert codec.decode(*codec.encode([{"price": Money(5)}])) == [{"price": Money(5)}]


def test_bytes_do_not_inflate():
    """A million bytes take a million bytes and a header."""
    assert len(codec.encode(b"\0" * 1_000_000)[1]) < 1_000_010


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        ([[1, 2], {"rows": [{"when": 1j}]}], r"\[1\]\['rows'\]\[0\]\['when'\]", "builtins.complex"),
        ([{"when": {1j}}], r"\[0\]\['when'\]", "builtins.complex"),
        ([{1: 1, (2, 1j): 1}], r"\[0\]\[key 1\]\[1\]", "builtins.complex"),
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
    """A codec that does not exist raises ValueError when it is set."""
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


@pytest.mark.parametrize(
    ("value", "kind"),
    [({1: 2}, "dict"), ({(1, 2): 3}, "dict"), ({4}, "set"), (object(), "object"), ([[]] * 70_000, "list")],
)
def test_an_embed_with_other_keys_than_text_is_not_written(value, kind):
    """What decode_embed would not read is not written, and the error names path and type."""
    with pytest.raises(PayloadEncodeError, match=rf"path=\['chord'\]\['args'\]\[1\], type=builtins.{kind}"):
        codec.encode_embed(EMBED | {"chord": {"args": ["a", value]}})


def test_an_embed_may_hold_thousands_of_signatures():
    """A chain is as long as a message allows, also in other scripts than Latin."""
    link = {"task": "tasks.資料を処理する", "args": 1, "kwargs": 1, "options": {"task_id": "x" * 36}}
    embed = EMBED | {"chain": [link] * 4_000}

    assert codec.decode_embed(codec.encode_embed(embed)) == embed


def test_keys_that_would_merge_are_declined(money):
    """Keys that are unequal where they are sent, and equal where they arrive, are not sent."""
    oslo = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Oslo"))
    assert len({oslo: 1, oslo.astimezone(UTC): 2}) == 2  # PEP 495

    with pytest.raises(PayloadEncodeError, match=r"path=\[key 0\].*datetime.*not come back equal"):
        codec.encode({oslo: 1, oslo.astimezone(UTC): 2})


@pytest.mark.parametrize("value", [Broken(), [{Broken(): 1}]])
def test_an_encoder_that_raises_is_named(value):
    """What a registered encoder raises is said with path and type."""
    json.register_type(Broken, "broken", lambda _: 1 / 0)
    try:
        with pytest.raises(PayloadEncodeError, match=r"Broken.*its encoder raised ZeroDivisionError"):
            codec.encode(value)
    finally:
        json._encoders.pop(Broken)
        json._decoders.pop("broken")


@pytest.mark.parametrize("value", [Hollow(), Incomparable(b=1)])
def test_a_subclass_that_does_not_equal_its_contents_is_named(value):
    """A list or dict that does not equal what it yields is an error that names path and type."""
    named = rf"path=\['a'\]\[0\], type=\S+{type(value).__name__}\]: it would not come back equal"
    with pytest.raises(PayloadEncodeError, match=named) as caught:
        codec.encode({"a": [value]})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [set, timedelta])
def test_what_the_application_registered_comes_first(kind):
    """A set or a timedelta that the application registered is written as it says."""
    json.register_type(kind, None, str)
    try:
        assert codec.decode(*codec.encode([kind()])) == [str(kind())]
    finally:
        json._encoders.pop(kind)


@pytest.mark.parametrize(
    ("model", "remedy"),
    [(Invoice(number=1), "pydantic=True"), (Order(1), "dataclasses.asdict"), (Item(1), "attrs.asdict")],
)
def test_a_model_is_declined_with_celery_s_own_way(model, remedy):
    """The publisher of a model reads how Celery sends such a one."""
    with pytest.raises(PayloadEncodeError, match=rf"{remedy}.*kombu\.utils\.json\.register_type"):
        codec.encode({"model": model})


def test_a_model_with_nanoseconds_or_folds_is_the_same_instant():
    """A datetime in an hour that comes twice arrives as the same instant, also of a subclass."""
    for fold in (0, 1):
        sent = FrozenLike(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Oslo"), fold=fold)
        back = codec.decode(*codec.encode(sent))
        assert (back.timestamp(), back.fold) == (sent.timestamp(), fold)


@pytest.mark.parametrize("value", ["text", b"bytes", 5, 2**70, 0.5, [1, {2: 3}], {"a": 1}, {1: 2}, {3, (4,)}])
def test_what_a_proxy_stands_for_is_sent(value):
    """A large result is a proxy, and may be passed on to another task as it is."""
    back = codec.decode(*codec.encode({"result": PromiseProxy(lambda: value)}))["result"]

    assert (type(back), back) == (type(value), value)

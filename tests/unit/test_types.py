"""The tables of reference/types.md and howto/upgrade.md in docs/ are the specification: each row is sent."""

import enum
from array import array
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from declared_classes import Invoice, Item, Order
from django.utils.datastructures import MultiValueDict
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from kombu.utils import json

from pipeline import Handle
from pipeline.claimcheck.codec import Codec
from pipeline.errors import PayloadEncodeError
from pipeline.serializer.serializer import KOMBU_TYPES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "reference" / "types.md").read_text() + (DOCS / "howto" / "upgrade.md").read_text()

codec = Codec(KOMBU_TYPES)
Point = namedtuple("Point", "x y")


@dataclass(frozen=True)
class Money:
    cents: int


class Currency(enum.Enum):
    EUR = "EUR"


class Shade(enum.StrEnum):
    DARK = "dark"


class Colour(enum.Enum):
    RED = "red"


class Mood(enum.StrEnum):
    GOOD = "good"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Ratio(float):
    pass


class Loner(str):
    __slots__ = ()

    def __eq__(self, other):
        return self is other

    __hash__ = object.__hash__


class Nothing(str):
    __slots__ = ()

    def __eq__(self, other):
        return False

    def __ne__(self, other):
        return True

    __hash__ = str.__hash__


class Registry(dict):
    def __eq__(self, other):
        return self is other

    __hash__ = None


class Moment(datetime):
    def __eq__(self, other):
        return self is other

    __hash__ = datetime.__hash__


@dataclass
class Tally(dict):
    count: int


class Oslo(tzinfo):
    def utcoffset(self, when):
        return timedelta(hours=1)

    def dst(self, when):
        return timedelta(0)

    def tzname(self, when):
        return "CET"


class OrderlySet(set):
    pass


class Described:
    def __json__(self):
        return {"described": True}


NAMES = {
    each.__name__: each
    for each in (
        *(OrderedDict, defaultdict, deque, date, datetime, time, timedelta, timezone, Decimal, HTTPStatus),
        *(Path, UUID, ZoneInfo, Point, Money, Currency, Shade, Colour, Mood, Text, Number, Ratio, Loner),
        *(Oslo, OrderlySet, Described, Order, Item, Invoice, Nothing, Registry, Moment, Tally),
        *(Handle, array, MultiValueDict, lazystr, mark_safe),
    )
} | {"UTC": UTC, "np": np, "pd": pd}


def rows(name, pages=PAGES):
    """Return the cells of a table of the pages, without its head."""
    shown = pages.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in shown.splitlines()[2:]]
    assert cells
    return [pytest.param(*values, id=kind) for kind, *values in cells]


@pytest.fixture(autouse=True)
def _registered():
    """Register three types, as an application does."""
    json.register_type(Money, "money", lambda money: money.cents, Money)
    json.register_type(Currency, "currency", lambda currency: currency.name, Currency.__getitem__)
    json.register_type(Shade, "shade", lambda shade: shade.value, Shade)
    yield
    for each, marker in ((Money, "money"), (Currency, "currency"), (Shade, "shade")):
        json._encoders.pop(each)
        json._decoders.pop(marker)


def evaluated(cell):
    return eval(cell.strip("`"), NAMES)


def kinds(value):
    """Return the types in a value, at every level, and what equality does not see."""
    if isinstance(value, dict):
        return type(value), {key: (kinds(key), kinds(child)) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), list(map(kinds, value))
    if isinstance(value, (set, frozenset)):
        return type(value), {child: kinds(child) for child in value}
    if isinstance(value, Money):
        return Money, kinds(value.cents)
    if isinstance(value, (datetime, time)):
        return type(value), value.fold, value.utcoffset()
    return type(value), str(value) if isinstance(value, float) else ""


WRAPS = {
    "alone": lambda value: value,
    "nested": lambda value: {"a": [value, {"b": [value]}]},
    "beside other keys than text": lambda value: {1: [value]},
    "in a registered type": Money,
}


def check(sent, arrives, verdict):
    """Send a value in each surrounding, and check the verdict of its row."""
    value, expected = evaluated(sent), evaluated(arrives or sent)
    for name, wrap in WRAPS.items():
        if verdict == "error":
            with pytest.raises(PayloadEncodeError, match=r"type=\S+\]: "):
                codec.encode(wrap(value))
        else:
            back = codec.decode(*codec.encode(wrap(value)))
            assert back == wrap(expected), name
            assert kinds(back) == kinds(wrap(expected)), name


@pytest.mark.parametrize(("sent", "arrives", "verdict"), rows("types"))
def test_a_value_arrives_as_the_page_says(sent, arrives, verdict):
    """Each type arrives as its row says, in each surrounding."""
    check(sent, arrives, verdict)


@pytest.mark.parametrize(("sent", "arrives", "verdict"), rows("keys"))
def test_a_key_arrives_as_the_page_says(sent, arrives, verdict):
    """Each kind of key arrives equal or is an error for its publisher, and no two keys become one."""
    check(sent, arrives, verdict)


@pytest.mark.parametrize(("sent", "arrives", "verdict"), rows("types"))
def test_json_agrees_where_the_page_says_so(sent, arrives, verdict):
    """What is equal as json is what Kombu's json gives; where json keeps a value equal, so do we."""
    value = evaluated(sent)
    try:
        through_json = json.loads(json.dumps(value))
    except (TypeError, ValueError):
        assert verdict != "equal as json"
        return

    if verdict == "equal as json":
        assert through_json == evaluated(arrives)
    elif through_json == value:
        assert verdict == "equal"


def outcome(way, value):
    """Return what arrives, or what becomes of it instead."""
    try:
        written = way["dumps"](value)
    except (TypeError, PayloadEncodeError):
        return "error"
    try:
        return way["loads"](written)
    except ValueError:
        return "cannot be read"


WAYS = {
    "json": {"dumps": json.dumps, "loads": json.loads},
    "ours": {"dumps": codec.encode, "loads": lambda written: codec.decode(*written)},
}


@pytest.mark.parametrize(("sent", "with_json", "now"), rows("json"))
def test_what_differs_from_json_is_on_the_page(sent, with_json, now):
    """An app that comes from json reads what its tasks got before, and what they get now."""
    value = evaluated(sent)
    for way, cell in (("json", with_json), ("ours", now)):
        found = outcome(WAYS[way], value)
        expected = value if cell == "the same" else evaluated(cell) if "`" in cell else cell
        assert found == expected
        assert kinds(found) == kinds(expected)

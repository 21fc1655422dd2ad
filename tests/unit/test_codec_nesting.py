"""How deep values may nest, for the codec to write and to read."""

from bisect import bisect
from decimal import Decimal

import ormsgpack
import pytest
from money import Money

from pipeline.claimcheck.codec import NESTING, Codec
from pipeline.errors import PayloadEncodeError
from pipeline.serializer.serializer import KOMBU_TYPES

codec = Codec(KOMBU_TYPES)


def deep(levels, leaf, wrap):
    """Return a leaf in so many lists or dicts, which share no level."""
    for _ in range(levels):
        leaf = wrap(leaf)
    return leaf


def depth(value):
    found = 0
    while isinstance(value, (list, dict)):
        found, value = found + 1, value[0] if isinstance(value, list) else next(iter(value.values()))
    return found, value


WAYS = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "text keys": lambda inner: {"a": inner},
    "number keys": lambda inner: {1: inner},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("levels", [199, 200, 254, 255, 256, 399, 400, NESTING])
def test_values_nest_as_deep_as_the_limit(levels, way):
    """One number says how deep values may nest, for writing and reading."""
    leaf = Decimal("1.5")

    assert depth(codec.decode(*codec.encode(deep(levels, leaf, WAYS[way])))) == (levels, leaf)


@pytest.mark.parametrize("way", WAYS)
def test_publishing_a_value_that_nests_deeper_fails(way):
    """A value one level deeper is not sent, and the error says how deep it may be."""
    with pytest.raises(PayloadEncodeError, match=f"path=.{{96,}}….*nests deeper than {NESTING} levels"):
        codec.encode(deep(NESTING + 1, 1, WAYS[way]))


def test_ormsgpack_writes_255_levels_and_no_more():
    """The parser's own limit is the one that the codec counts on."""
    assert ormsgpack.packb(deep(255, 1, lambda inner: [inner]))
    with pytest.raises(ormsgpack.MsgpackEncodeError):
        ormsgpack.packb(deep(256, 1, lambda inner: [inner]))


NESTED = {
    "registered type": Money,
    "list in a registered type": lambda inner: Money([inner]),
    "frozenset": lambda inner: frozenset({inner}),
    "dict with tuples as keys": lambda inner: {(1,): inner},
    "tuple in a key": lambda inner: (inner,),
}


@pytest.mark.parametrize("way", NESTED)
def test_extensions_nest_as_deep_as_they_are_written(way, money):
    """Extensions nest too: every depth that is written is read, and a deeper value is not sent."""

    def nested(levels):
        inner = deep(levels, 1, NESTED[way])
        return {inner: 1} if way == "tuple in a key" else [inner]

    def is_declined(levels):
        try:
            codec.encode(nested(levels))
        except PayloadEncodeError as exc:
            return f"nests deeper than {NESTING} levels" in str(exc)
        return False

    deepest = bisect(range(NESTING + 5), False, key=is_declined) - 1  # noqa: FBT003

    assert deepest > NESTING // 4
    assert codec.decode(*codec.encode(nested(deepest))) == nested(deepest)
    assert is_declined(deepest + 1)


def test_a_value_that_contains_itself_raises():
    """A cycle ends in an error, not in a crash or an endless loop."""
    cycle = []
    cycle.append(cycle)

    with pytest.raises(PayloadEncodeError):
        codec.encode(cycle)

"""What hooks get as ``args`` and ``kwargs`` does what a list and a dict do."""

import copy
import json
from collections.abc import MutableMapping, MutableSequence
from datetime import date, timedelta
from operator import delitem, eq, ior, setitem

import pytest
from kombu.utils import json as kombu_json

from pipeline.claimcheck.codec import NESTING
from pipeline.deferred.body import DeferredArgs, DeferredKwargs
from pipeline.serializer import serializer

NO_SIGNATURES = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
ARGS, KWARGS = [3, 1, 2], {"a": 1, "b": [2]}


@pytest.fixture(params=[262_144, 0], ids=["inline", "offloaded"])
def threshold(request):
    return request.param


@pytest.fixture
def arguments(claimcheck):
    """Return arguments as a worker gets them, unread."""
    return serializer.decode(serializer.encode((ARGS, KWARGS, NO_SIGNATURES)))[:2]


@pytest.mark.parametrize(
    "act",
    [
        lambda args: args.append(4),
        lambda args: args.insert(0, 4),
        lambda args: args.extend([4, 5]),
        lambda args: args.pop(),
        lambda args: args.pop(0),
        lambda args: args.remove(1),
        lambda args: args.reverse(),
        lambda args: args.clear(),
        lambda args: args.copy(),
        lambda args: args.index(2),
        lambda args: args[:2],
        lambda args: setitem(args, 0, 9),
        lambda args: setitem(args, slice(0, 2), [7]),
        lambda args: delitem(args, 0),
        lambda args: args + [4],
        lambda args: [4] + args,
        lambda args: (4,) + tuple(args),
        lambda args: 2 in args,
        lambda args: args == [3, 1, 2],
        lambda args: [*reversed(args)],
        lambda args: json.dumps(list(args)),
        copy.deepcopy,
        lambda args: max(*args),
    ],
)
def test_args_do_what_a_list_does(arguments, act):
    """Every operation has the same outcome as on a list, and leaves the same values."""
    args, real = arguments[0], ARGS.copy()

    assert act(args) == act(real)
    assert list(args) == real
    assert isinstance(args, MutableSequence)


@pytest.mark.parametrize(
    "act",
    [
        lambda kwargs: kwargs.pop("a"),
        lambda kwargs: kwargs.pop("_trace", None),
        lambda kwargs: kwargs.popitem(),
        lambda kwargs: kwargs.setdefault("z", 1),
        lambda kwargs: kwargs.update(a=5, c=6),
        lambda kwargs: kwargs.clear(),
        lambda kwargs: kwargs.copy(),
        lambda kwargs: kwargs.get("c"),
        lambda kwargs: setitem(kwargs, "x", 1),
        lambda kwargs: delitem(kwargs, "a"),
        lambda kwargs: kwargs | {"a": 2},
        lambda kwargs: {"a": 2} | kwargs,
        lambda kwargs: ior(kwargs, {"a": 2}) == {"a": 2, "b": [2]},
        lambda kwargs: ior({"a": 2}, kwargs),
        lambda kwargs: eq(kwargs, {"a": 1, "b": [2]}),
        lambda kwargs: [*reversed(kwargs)],
        lambda kwargs: sorted(kwargs.items()),
        lambda kwargs: {**kwargs},
        lambda kwargs: dict(**kwargs),
        lambda kwargs: json.dumps(dict(kwargs)),
        copy.deepcopy,
    ],
)
def test_kwargs_do_what_a_dict_does(arguments, act):
    """Every operation has the same outcome as on a dict, and leaves the same values in the same order."""
    kwargs, real = arguments[1], copy.deepcopy(KWARGS)

    assert act(kwargs) == act(real)
    assert list(kwargs.items()) == list(real.items())
    assert isinstance(kwargs, MutableMapping)


def test_what_is_no_mapping_is_no_operand(arguments):
    """Operators raise TypeError for the operands for which a dict's do."""
    with pytest.raises(TypeError):
        arguments[1] | 5
    with pytest.raises(TypeError):
        5 | arguments[1]


def test_a_change_is_shown_nowhere_and_goes_along(arguments):
    """Changed arguments are still not shown, and are what others may keep."""
    args, kwargs = arguments
    args.append("secret")
    kwargs["word"] = "secret"

    assert "secret" not in repr(arguments)
    assert (type(args), type(kwargs)) == (DeferredArgs, DeferredKwargs)
    assert args.deferred.stored() == ([*ARGS, "secret"], {**KWARGS, "word": "secret"})


@pytest.mark.parametrize("options", [{"codec": "pickle"}])
def test_args_are_a_list_with_pickle_too(claimcheck):
    """A tuple that pickle has kept as one can be changed like any other arguments."""
    args, _, _ = serializer.decode(serializer.encode(((1, 2), {}, NO_SIGNATURES)))
    args.append(3)

    assert list(args) == [1, 2, 3]


def test_what_json_lacks_is_described_to_those_who_write_json(claimcheck):
    """Arguments of every type and depth reach backends and monitors as JSON that can be read."""
    deep = 1
    for _ in range(NESTING - 2):
        deep = [deep]
    args = [
        {(1, 2): {3}, b"b": timedelta(1), None: date(2026, 1, 2)},
        {"__type__": "nope", "__value__": 1},
        deep,
    ]
    decoded, kwargs, _ = serializer.decode(serializer.encode((args, {"a": frozenset()}, NO_SIGNATURES)))
    list(decoded)

    back = kombu_json.loads(kombu_json.dumps([decoded, kwargs]))
    assert back[0][:2] == [
        {"(1, 2)": [3], "b'b'": "1 day, 0:00:00", "null": date(2026, 1, 2)},
        "{'__type__': 'nope', '__value__': 1}",
    ]
    assert back[1] == {"a": []}

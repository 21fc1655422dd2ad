"""What a worker's main process reads of a message's body: callbacks and the like, and little else."""

import random

import pytest

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Inline
from pipeline.deferred import signatures
from pipeline.deferred.body import deferred_in
from pipeline.deferred.payload import MAIN_LIMIT_BYTES
from pipeline.serializer import serializer

NO_SIGNATURES = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
KEYS = [{1: "one", "1": "text"}, {(1, 2): 3}, {b"k": {4}}]


def link(*args):
    """Return a signature as Celery writes it."""
    return {
        "task": "t",
        "args": list(args),
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }


@pytest.mark.parametrize("value", KEYS)
def test_arguments_of_links_with_any_keys_arrive_equal(claimcheck, store, value):
    """Keys that a main process is not to hash travel in the payload, and are there when the task runs."""
    body = serializer.encode(([1], {}, {**NO_SIGNATURES, "callbacks": [link(value)]}))
    args, _, embed = serializer.decode(body)

    assert isinstance(wire_form.read(body).payload, Inline)
    assert signatures.is_bare(embed)
    assert list(args) == [1]
    assert embed["callbacks"][0]["args"] == [value]
    assert store.calls == {}


def test_links_with_text_for_keys_travel_whole(claimcheck):
    """A main process calls such an errback without a look at the payload."""
    errback = link({"key": 1})
    _, _, embed = serializer.decode(serializer.encode(([1], {}, {**NO_SIGNATURES, "errbacks": [errback]})))

    assert embed["errbacks"] == [errback]


@pytest.mark.parametrize(("size_bytes", "is_shown"), [(100, True), (MAIN_LIMIT_BYTES + 1, False)])
def test_what_is_reported_of_arguments_is_bounded(claimcheck, size_bytes, is_shown):
    """A payload in the message is decoded for a report if it is small, and once it is here anyway."""
    value = random.Random(1).randbytes(size_bytes).hex()[:size_bytes]
    body = serializer.decode(serializer.encode(([value], {}, NO_SIGNATURES)))
    deferred = deferred_in(body)

    assert (deferred.stored() == ([value], {})) is is_shown
    assert deferred.loaded is is_shown
    deferred.load()
    assert deferred.stored() == ([value], {})


@pytest.mark.parametrize(
    "embed",
    [
        {"chain": [{"task": "t", "args": 1, "kwargs": 1, "options": 5}]},
        {"chain": [{**link(), "subtask_type": ["chain"]}]},
        {"chain": [{**link(), "subtask_type": "chain", "kwargs": []}]},
        {"chord": 5, "callbacks": [[[[]]], None, {"a": 1}]},
    ],
)
def test_links_of_any_form_are_looked_through(embed):
    """What is no signature is passed over, without an error."""
    assert isinstance(signatures.is_bare(embed), bool)

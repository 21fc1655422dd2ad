"""Any value, any size, any bytes: what holds for all of them."""

import math
import string
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, timedelta, timezone
from http import HTTPStatus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.utils import json

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck import compression
from pipeline.claimcheck.claim import Claim, Inline
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.message_size import Envelope, Wire
from pipeline.errors import ClaimError, PayloadCorruptError, PayloadEncodeError, PipelineError
from pipeline.metrics import NullSink
from pipeline.metrics.recorder import Recorder
from pipeline.options import Options
from pipeline.serializer import serializer
from pipeline.stores.memory import MemoryStore
from pipeline.testing import CountingStore

NO_SIGNATURES = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}

codec = Codec(serializer.KOMBU_TYPES)

zones = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])
texts = st.text(st.characters(codec=None), max_size=50)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=200),
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
hashables = st.recursive(
    scalars,
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    scalars | st.sets(hashables, max_size=4) | st.frozensets(hashables, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=10), inner, max_size=5)
        | st.dictionaries(hashables, inner, max_size=5)
    ),
    max_leaves=30,
)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


json_scalars = st.one_of(
    st.none() | st.booleans() | st.floats(allow_nan=False) | texts | texts.map(Text),
    st.integers() | st.integers().map(Number) | st.sampled_from(HTTPStatus),
    st.binary(max_size=20) | st.datetimes(timezones=zones) | st.dates() | st.times() | st.uuids(),
    st.decimals(allow_nan=False),
)
json_keys = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts)
markers = st.fixed_dictionaries({"__type__": texts | st.just("datetime"), "__value__": json_scalars})
json_values = st.recursive(
    json_scalars | markers,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(
            json_keys | json_keys.filter(lambda key: type(key) is str).map(Text), inner, max_size=5
        )
        | st.dictionaries(texts, inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=30,
)
"""All that Kombu's json takes."""


def with_lists(value):
    """Return a value with lists for tuples, which is what json makes of them too."""
    if isinstance(value, dict):
        return {key: with_lists(child) for key, child in value.items()}
    return [with_lists(child) for child in value] if isinstance(value, (list, tuple)) else value


arguments = st.lists(values, max_size=4)
keywords = st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=8), values, max_size=4)


@pytest.fixture(scope="module", params=[0, 6_000, 262_144], ids="threshold={}".format)
def claimcheck(request):
    options = Options(threshold_bytes=request.param, result_threshold_bytes=request.param)
    made = ClaimCheck(
        CountingStore(MemoryStore("claims")),
        Codec(serializer.KOMBU_TYPES),
        options,
        Wire.of("sqs", options.reserve_bytes),
        Recorder(NullSink()),
    )
    serializer.install(made)
    yield made
    serializer.install(None)
    made.recorder.close()


@given(args=arguments, kwargs=keywords)
def test_a_task_s_arguments_come_back_equal(claimcheck, args, kwargs):
    """A task receives the arguments that it was called with, inline or offloaded."""
    decoded_args, decoded_kwargs, embed = serializer.decode(serializer.encode((args, kwargs, NO_SIGNATURES)))

    assert (list(decoded_args), dict(decoded_kwargs), embed) == (args, kwargs, NO_SIGNATURES)


@given(value=values)
def test_any_other_value_comes_back_equal(claimcheck, value):
    """Results and anything else come back equal."""
    assert serializer.decode(serializer.encode(value)) == value


@given(value=json_values)
def test_what_json_takes_arrives_at_least_as_faithfully(value):
    """Every value that Celery's json takes comes back equal, and tuples as lists; json keeps less."""
    assert json.dumps(value)
    back = codec.decode(*codec.encode(value))

    assert back == with_lists(value)


@given(embed=st.dictionaries(texts, values, max_size=4))
def test_an_embed_comes_back_equal_or_is_not_written(embed):
    """What is written for the main process is read there, and equal; the rest raises in the publisher."""
    with suppress(PayloadEncodeError):
        assert codec.decode_embed(codec.encode_embed(embed)) == embed


@given(size=st.integers(0, 400_000), seed=st.integers(0, 255))
@example(size=140_000, seed=1)
def test_a_body_is_inline_or_offloaded_and_never_both(claimcheck, size, seed):
    """One object in the store per claim, none for an inline body, and the weight decides which."""
    before = dict(claimcheck.store.calls)
    noise = bytes((seed + i * i * 31) % 251 for i in range(size))
    body = serializer.encode(([noise], {}, NO_SIGNATURES))
    payload = wire_form.read(body).payload
    puts = claimcheck.store.calls.get("put", 0) - before.get("put", 0)
    weight = claimcheck.wire.size_bytes(len(body), Envelope())

    assert isinstance(payload, (Claim, Inline))
    assert puts == isinstance(payload, Claim)
    if isinstance(payload, Inline):
        assert weight <= claimcheck.options.threshold_bytes
    assert weight <= claimcheck.options.broker_limit_bytes


@given(garbage=st.binary(max_size=400) | st.text(max_size=50))
def test_decoding_is_total(claimcheck, garbage):
    """Any bytes decode without an exception, and fail as ours when they are looked at."""
    decoded = serializer.decode(garbage)
    with suppress(PipelineError):
        list(decoded[0]) if isinstance(decoded, tuple) else repr(decoded)


@given(position=st.floats(0, 1), bit=st.integers(0, 7), value=values)
def test_a_flipped_bit_never_goes_unnoticed(claimcheck, position, bit, value):
    """A signed message with any bit flipped is rejected as a whole."""
    key = b"k" * 32
    body = bytearray(wire_form.write(wire_form.read(serializer.encode(([value], {}, NO_SIGNATURES))), key))
    at = min(int(position * len(body)), len(body) - 1)
    body[at] ^= 1 << bit

    with pytest.raises(ClaimError):
        wire_form.read(bytes(body), key)


@given(raw=st.binary(min_size=600, max_size=3_000), position=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_store_never_goes_unnoticed(raw, position, bit):
    """A payload with any bit flipped never reaches a task."""
    store = MemoryStore("claims")
    made = ClaimCheck(
        store, Codec(serializer.KOMBU_TYPES), Options(), Wire.of("sqs", 0), Recorder(NullSink())
    )
    claim = made.offload(made.seal(raw)).claim
    stored = bytearray(store.get(claim.key, claim.size_bytes))
    stored[min(int(position * len(stored)), len(stored) - 1)] ^= 1 << bit
    store.delete([claim.key])
    store.put(claim.key, bytes(stored), {})

    with pytest.raises(PayloadCorruptError):
        made.rehydrate(claim)
    made.recorder.close()


@given(raw=st.binary(max_size=5_000), promised=st.integers(0, 6_000))
def test_expansion_keeps_its_promise(raw, promised):
    """Decompression gives exactly what was promised or an error, for any promise."""
    name, data = compression.compress(raw * 3)
    try:
        assert len(compression.expand(name, data, promised)) == promised
        assert promised == len(raw * 3)
    except PayloadCorruptError:
        assert promised != len(raw * 3)


def test_what_is_not_a_number_stays_so():
    """NaN, which equals nothing, comes back as NaN."""
    assert math.isnan(codec.decode(*codec.encode(math.nan)))

"""What a body weighs on the wire."""

import json
import random
from base64 import b64encode

import pytest
from kombu.compression import compress

from pipeline.claimcheck.message_size import Envelope, Wire


@pytest.mark.parametrize(("transport", "layers"), [("sqs", 1), ("redis", 1), ("amqp", 0), ("filesystem", 1)])
def test_transports_wrap_a_body_differently(transport, layers):
    """Virtual transports encode once, AMQP not at all."""
    assert Wire.of(transport, 0).base64_layers == layers


def weight(wire, body_bytes=0, **envelope):
    return wire.size_bytes(body_bytes, Envelope(**envelope))


def test_sqs_inflates_a_body_once():
    """Over SQS a body weighs 4/3 of itself, and headers as much as their JSON."""
    wire = Wire.of("sqs", reserve_bytes=0)
    headers = {"task": "reports.summarise"}

    assert weight(wire, 900_000) == pytest.approx(1_200_000, abs=1_000)
    assert weight(wire, headers=headers) - weight(wire) == len(json.dumps(headers)) - 2


def test_an_encoded_envelope_weighs_more():
    """With Kombu's option, as by its default, a body weighs 16/9 of itself, 1.78 times."""
    wire = Wire.of("sqs", reserve_bytes=0, whole=True)
    headers = {"task": "reports.summarise"}

    assert weight(wire, 900_000) == pytest.approx(1_600_000, abs=1_000)
    assert weight(wire, headers=headers) - weight(wire) == pytest.approx(
        (len(json.dumps(headers)) - 2) * 4 / 3, abs=4
    )


def test_the_reserve_counts():
    """The weight includes space for headers that others add later."""
    reserved, bare = Wire.of("amqp", reserve_bytes=100), Wire.of("amqp", reserve_bytes=0)

    assert weight(reserved, 10) - weight(bare) == 110


def test_attributes_weigh_what_sqs_counts():
    """Name, type and value of a message attribute count, in UTF-8, and once: they are not in the envelope."""
    wire = Wire.of("sqs", reserve_bytes=0)
    attributes = {
        "trace": {"DataType": "String", "StringValue": "\U0001f600"},
        "b": {"DataType": "Binary", "BinaryValue": b"abc"},
    }

    assert weight(wire, properties={"message_attributes": attributes}) - weight(wire) == 15 + 10
    assert weight(wire, properties={"message_attributes": "none"}) == weight(wire)


def test_what_json_cannot_write_has_a_weight_too():
    """A header for AMQP alone is no error here."""
    wire = Wire.of("amqp", reserve_bytes=0)

    assert weight(wire, headers={"x": {1, 2}}) > weight(wire)


def test_a_body_that_is_compressed_once_more_may_grow():
    """A body that does not compress is not heavier than computed, with each of Kombu's compressions."""
    wire, noise = Wire.of("sqs", reserve_bytes=0), random.Random(9).randbytes(500_000)
    for name in ("gzip", "bzip2", "lzma"):
        packed, content_type = compress(noise, name)
        actual = len(b64encode(packed)) + len(content_type)

        assert actual <= weight(wire, len(noise), is_compressed=True) <= actual * 1.02

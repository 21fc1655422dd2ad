"""What a body weighs on the wire."""

import json

import pytest

from pipeline.wire import Wire


@pytest.mark.parametrize(("transport", "layers"), [("sqs", 1), ("redis", 1), ("amqp", 0), ("filesystem", 1)])
def test_transports_wrap_a_body_differently(transport, layers):
    """Virtual transports encode once, AMQP not at all."""
    assert Wire.of(transport, 0).base64_layers == layers


def test_sqs_inflates_a_body_once():
    """Over SQS a body weighs 4/3 of itself, and headers as much as their JSON."""
    wire = Wire.of("sqs", reserve_bytes=0)
    headers = {"task": "reports.summarise"}

    assert wire.size_bytes(900_000, {}) == pytest.approx(1_200_000, abs=10)
    assert wire.size_bytes(0, headers) - wire.size_bytes(0, {}) == len(json.dumps(headers)) - 2


def test_an_encoded_envelope_weighs_more():
    """With Kombu's option, as by its default, a body weighs 16/9 of itself, 1.78 times."""
    wire = Wire.of("sqs", reserve_bytes=0, whole=True)
    headers = {"task": "reports.summarise"}

    assert wire.size_bytes(900_000, {}) == pytest.approx(1_600_000, abs=10)
    assert wire.size_bytes(0, headers) - wire.size_bytes(0, {}) == pytest.approx(
        (len(json.dumps(headers)) - 2) * 4 / 3, abs=4
    )


def test_the_reserve_counts():
    """Room for what others add later is part of the weight."""
    assert Wire.of("amqp", reserve_bytes=100).size_bytes(10, {}) == 112

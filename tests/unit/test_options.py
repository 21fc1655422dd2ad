"""Options are checked when they are set."""

from typing import Any, Unpack, get_type_hints

import pytest

import pipeline
from pipeline.options import CHEAPER_OFFLOADED_BYTES, Options, OptionValues


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"threshold_bytes": -1}, "threshold_bytes=-1: expected a whole number"),
        ({"threshold_bytes": 1.5}, "threshold_bytes=1.5"),
        ({"threshold_bytes": True}, "threshold_bytes=True"),
        ({"threshold_bytes": "auto "}, "threshold_bytes='auto ': expected a whole number"),
        ({"threshold_bytes": 2_000_000}, "above broker_limit_bytes=1048576"),
        ({"payload_limit_bytes": 0}, "payload_limit_bytes=0"),
        ({"store_retry_seconds": 0}, "store_retry_seconds=0"),
        ({"signing_key": b"short"}, "secrets.token_bytes"),
        (
            {"signing_key": "a secret that is a text"},
            "signing_key is a str: expected bytes, such as text.encode",
        ),
        ({"signing_key": bytearray(32)}, "signing_key is a bytearray: expected bytes"),
        ({"alias": "Not an alias"}, "alias='Not an alias'"),
        ({"payload_ttl_seconds": 10**12}, "payload_ttl_seconds=1000000000000: .* to 3155760000"),
        ({"store_retry_seconds": float("nan")}, "store_retry_seconds=nan"),
        ({"store_retry_seconds": float("inf")}, "store_retry_seconds=inf"),
        ({"accept_unsigned": True}, "without a signing_key has no effect"),
        ({"signing_key": bytes(16), "publish": False}, "publish=False writes unsigned messages"),
    ],
)
def test_a_wrong_value_raises_with_its_name(options, expected):
    """A wrong option raises ValueError that names it, its value and what was expected."""
    with pytest.raises(ValueError, match=expected):
        Options(**options)


@pytest.mark.parametrize("name", Options.__dataclass_fields__)
@pytest.mark.parametrize("value", ["", "text", b"", -1, 1.5, True, [], {}, object(), float("nan"), 10**400])
def test_any_value_is_accepted_or_raises_a_sentence(name, value):
    """A value of an option is accepted, or a ValueError names the option."""
    said = name
    try:
        Options(**{name: value})
    except ValueError as exc:
        said = str(exc)

    assert said.startswith(name)


def test_a_wrong_key_is_not_shown():
    """What is wrong with a signing key is said without the key."""
    with pytest.raises(ValueError, match="signing_key") as caught:
        Options(signing_key="hunter2")

    assert "hunter2" not in str(caught.value)


def test_type_checkers_know_every_option():
    """The types of ``install``'s keyword arguments are those of the options, name by name."""
    type_checkers_alone = {"AnyDoor": Any}
    assert get_type_hints(pipeline.install, localns=type_checkers_alone)["options"] == Unpack[OptionValues]
    assert get_type_hints(OptionValues) == get_type_hints(Options)
    assert OptionValues.__optional_keys__ == Options.__dataclass_fields__.keys()


def test_the_defaults_are_consistent():
    """The defaults pass their own checks, and fit a broker that stops at 256 KiB."""
    assert Options().threshold_bytes == 262_144
    assert Options(threshold_bytes=0, broker_limit_bytes=262_144).threshold_bytes == 0


def test_the_threshold_by_cost():
    """With ``auto`` a body is offloaded where S3 is cheaper than SQS, or where the broker stops."""
    assert Options(threshold_bytes="auto").inline_limit_bytes == CHEAPER_OFFLOADED_BYTES
    assert Options(threshold_bytes="auto", broker_limit_bytes=262_144).inline_limit_bytes == 262_144
    assert Options(threshold_bytes=5).inline_limit_bytes == 5

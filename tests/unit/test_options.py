"""Options are checked when they are set."""

import pytest

from pipeline.options import Options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"threshold_bytes": -1}, "threshold_bytes=-1: expected a whole number"),
        ({"threshold_bytes": 1.5}, "threshold_bytes=1.5"),
        ({"threshold_bytes": True}, "threshold_bytes=True"),
        ({"threshold_bytes": 2_000_000}, "above broker_limit_bytes=1048576"),
        ({"payload_limit_bytes": 0}, "payload_limit_bytes=0"),
        ({"store_retry_seconds": 0}, "store_retry_seconds=0"),
        ({"signing_key": b"short"}, "secrets.token_bytes"),
        ({"alias": "Not an alias"}, "alias='Not an alias'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(options, expected):
    """A wrong option raises ValueError that names it, its value and what was expected."""
    with pytest.raises(ValueError, match=expected):
        Options(**options)


def test_the_defaults_are_consistent():
    """The defaults pass their own checks, and fit a broker that stops at 256 KiB."""
    assert Options().threshold_bytes == 262_144
    assert Options(threshold_bytes=0, broker_limit_bytes=262_144).threshold_bytes == 0

"""Checks the values of transport options when an app is configured.

SQS rejects most wrong values too, but late: in a worker's event loop, or when the first queue is created.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline.aws.limits import (
    SQS_RECEIVE_COUNT_LIMIT,
    SQS_RETENTION_LEAST_SECONDS,
    SQS_RETENTION_LIMIT_SECONDS,
    SQS_VISIBILITY_LIMIT_SECONDS,
    SQS_WAIT_LIMIT_SECONDS,
    STS_SESSION_LEAST_SECONDS,
    STS_SESSION_LIMIT_SECONDS,
)


class _Range(NamedTuple):
    """Allowed values of a numeric option."""

    least: float
    most: float
    unit: str
    is_whole: bool = True


_NUMBERS: Mapping[str, _Range] = {
    "visibility_timeout": _Range(1, SQS_VISIBILITY_LIMIT_SECONDS, "seconds"),
    "wait_time_seconds": _Range(0, SQS_WAIT_LIMIT_SECONDS, "seconds"),
    "polling_interval": _Range(0, math.inf, "seconds", is_whole=False),
    "max_receive_count": _Range(1, SQS_RECEIVE_COUNT_LIMIT, "deliveries"),
    "redelivery_floor_seconds": _Range(0, SQS_VISIBILITY_LIMIT_SECONDS, "seconds"),
    "redelivery_step_seconds": _Range(0, SQS_VISIBILITY_LIMIT_SECONDS, "seconds"),
    "redelivery_limit_seconds": _Range(0, SQS_VISIBILITY_LIMIT_SECONDS, "seconds"),
    "health_seconds": _Range(0, math.inf, "seconds", is_whole=False),
    "eta_in_worker_seconds": _Range(0, math.inf, "seconds"),
    "event_gather_seconds": _Range(0, math.inf, "seconds", is_whole=False),
    "sts_token_timeout": _Range(STS_SESSION_LEAST_SECONDS, STS_SESSION_LIMIT_SECONDS, "seconds"),
    "sts_token_buffer_time": _Range(0, STS_SESSION_LIMIT_SECONDS, "seconds"),
}
"""SQS allows a visibility timeout of 0, but then two workers have every message."""

_OPTIONS = "broker_transport_options"
_CREATION = "sqs-creation-attributes"

_ATTRIBUTES: Mapping[str, _Range] = {
    "MessageRetentionPeriod": _Range(SQS_RETENTION_LEAST_SECONDS, SQS_RETENTION_LIMIT_SECONDS, "seconds"),
}
"""Attributes of new queues that the time chain counts with."""

_SWITCHES = ("visibility_heartbeat", "dead_letter_queues", "supports_fanout", "sqs_base64_encoding")

CHECKED_NAMES = frozenset({*_NUMBERS, *_SWITCHES})
"""Names of the options that are checked here."""


def check_transport_options(options: Mapping[str, Any]) -> None:
    """Check the options of our SQS transport, and those of Kombu's that it uses. Others are ignored.

    Raises:
        ValueError: a value is not allowed; names the option and what is allowed.
    """
    for name, allowed in _NUMBERS.items():
        if options.get(name) not in {None, ""}:
            _check_number(name, options[name], allowed)
    for name in _SWITCHES:
        if not isinstance(options.get(name, True), bool):
            raise _error(name, options[name], "True or False")
    for name, value in (options.get(_CREATION) or {}).items():
        if name in _ATTRIBUTES:
            is_number = isinstance(value, str) and value.isdecimal()  # boto3 takes text alone
            whole = int(value) if is_number else value
            _check_number(name, whole, _ATTRIBUTES[name], f"{_OPTIONS}[{_CREATION!r}]")


def _check_number(name: str, value: Any, allowed: _Range, where: str = _OPTIONS) -> None:
    kind = int if allowed.is_whole else int | float
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not is_number or not allowed.least <= value <= allowed.most:
        what = "a whole number" if allowed.is_whole else "a number"
        span = f"from {allowed.least:,} " + ("on" if allowed.most == math.inf else f"to {allowed.most:,}")
        raise _error(name, value, f"{what} of {allowed.unit} {span}", where)


def _error(name: str, value: Any, expected: str, where: str = _OPTIONS) -> ValueError:
    return ValueError(f"{where}[{name!r}] is {value!r}: it must be {expected}")

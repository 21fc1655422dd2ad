"""Whether a value that was read back is the one that was written."""

from datetime import datetime, time, timedelta
from typing import Any

from pipeline.claimcheck.codec.extensions import hashable


def has_short_offset(value: Any) -> bool:
    """Say whether a value's offset from UTC is less than a second: ``fromisoformat`` reads that as UTC.

    Source: CPython 3.11, ``_datetimemodule.c``, ``tzinfo_from_isoformat_results``.
    """
    offset = _offset(value)
    return bool(offset) and abs(offset) < timedelta(seconds=1)


def _offset(value: Any) -> Any:
    return value.utcoffset() if isinstance(value, (datetime, time)) else None


def is_same(back: Any, value: Any) -> bool:
    """Say whether two values are equal, or aware and the same instant, with the same offset from UTC.

    Where a clock is put back, a datetime equals none of another zone, though it is the same: PEP 495. Times
    are compared without the microseconds of their offsets.
    """
    offset = _offset(value)
    is_equal = back == value or (isinstance(value, datetime) and offset is not None and not back - value)
    return bool(is_equal) and _offset(back) == offset


def is_same_key(back: Any, value: Any) -> bool:
    """Say whether two keys, or elements of a set, are equal; a tuple was read as a list."""
    key = hashable(back)
    return bool(key == value) and hash(key) == hash(value)

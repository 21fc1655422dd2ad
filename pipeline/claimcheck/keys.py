"""The grammar of keys below a store's prefix: payloads of messages, of results, and of handles.

::

    v1/<shard>/YYYY/MM/DD/<40 hex digits>                   payloads of messages
    results/v1/<shard>/YYYY/MM/DD/<40 hex digits>           payloads of results
    handles/<days>d/v1/<shard>/YYYY/MM/DD/<40 hex digits>   payloads of handles, by TTL class
    <one of these>.ledger                                   the ledger of a shared payload

A shard is two random hex digits. S3 divides its key space by what keys begin with, and learns slowly where
the requests are: behind a date, each midnight all of them would be in one new place
(docs/explanation/partitions.md).
"""

import re
import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from pipeline.errors import ClaimError

PAYLOADS = "v1/"
RESULTS = "results/"
HANDLES = "handles/"
"""Prefixes below the store's own: what is below each has another lifetime."""

LEDGER = ".ledger"
"""What a ledger's key ends with, after the key of its payload: it lives as long. No claim may name it."""

TTL_CLASSES_DAYS = (1, 7, 30, 90)
"""How long payloads of handles may live: each class has a prefix of its own, with its lifecycle rule."""

_OBJECTS = UUID("7d0f2c8e-5b1a-4c1e-9a52-3f6f0d1b8e47")
"""Namespace of the ids of tasks that get an object."""

FORM = f"{PAYLOADS}<2 hex digits>/YYYY/MM/DD/<40 hex digits>"
"""What each key ends with, as errors show it."""

_END = r"v1/[0-9a-f]{2}/\d{4}/\d{2}/\d{2}/[0-9a-f]{40}\Z"
_KEY = re.compile(rf"(results/)?{_END}", re.ASCII)
_HANDLE_KEY = re.compile(rf"handles/({'|'.join(map(str, TTL_CLASSES_DAYS))})d/{_END}", re.ASCII)


def new_key(prefix: str, due: datetime | None = None) -> str:
    """Return a new, unguessable key under ``prefix``, in a random shard.

    The day is that on which the payload is due: today, or that of its task's ETA. No payload is an orphan
    before that.
    """
    day = (due or datetime.now(UTC)).astimezone(UTC).strftime("%Y/%m/%d")
    return below(prefix, f"{PAYLOADS}{secrets.token_hex(1)}/{day}/{secrets.token_hex(20)}")


def new_result_key(prefix: str) -> str:
    """Return a new key for a result, with today's day."""
    return new_key(below(prefix, RESULTS.rstrip("/")))


def new_handle_key(prefix: str, ttl_days: int) -> str:
    """Return a new key for the payload of a handle, in its TTL class, with today's day.

    Raises:
        ValueError: there is no such class.
    """
    if isinstance(ttl_days, bool) or ttl_days not in TTL_CLASSES_DAYS:
        expected = ", ".join(map(str, TTL_CLASSES_DAYS))
        raise ValueError(f"ttl_days={ttl_days!r}: expected one of {expected}")
    return new_key(below(prefix, handle_folder(ttl_days).rstrip("/")))


def handle_folder(ttl_days: int) -> str:
    """Return the folder of a TTL class, below a store's prefix."""
    return f"{HANDLES}{ttl_days}d/"


def ledger_key(key: str) -> str:
    """Return the key of the ledger of a payload."""
    return key + LEDGER


def payload_key(key: str) -> str:
    """Return the key of the payload that a ledger belongs to; any other key is its own."""
    return key.removesuffix(LEDGER)


def is_result(key: str, prefix: str) -> bool:
    """Say whether a key of our grammar is a result's."""
    return key.startswith(below(prefix, RESULTS))


def ttl_days_of(key: str, prefix: str) -> int | None:
    """Return the TTL class of the payload of a handle; None for a key that is none of a handle's."""
    rest = _rest(key, prefix)
    match = _HANDLE_KEY.match(rest) if rest is not None and _has_day(key) else None
    return int(match[1]) if match else None


def end_of(key: str, prefix: str) -> datetime | None:
    """Return when the lifecycle rule ends the payload of a handle; None for a key that is none of a handle's.

    S3 counts from the day after. Source: S3 User Guide, "Lifecycle rules based on an object's age".
    """
    days = ttl_days_of(key, prefix)
    return None if days is None else day_of(key) + timedelta(days=days + 1)


def day_of(key: str) -> datetime:
    """Return the day in a key that ``new_key`` has made: its midnight, in UTC."""
    year, month, day = map(int, key.split("/")[-4:-1])
    return datetime(year, month, day, tzinfo=UTC)


def check_key(key: str, prefix: str) -> None:
    """Reject a key that ``new_key`` and ``new_result_key`` do not make for ``prefix``.

    Raises:
        ClaimError: the key has another prefix or does not follow the grammar.
    """
    rest = _rest(key, prefix)
    if rest is None or not _KEY.match(rest) or not _has_day(key):
        head = below(prefix, "")
        raise ClaimError(
            f"claim rejected [key={key[:120]!r}]: expected {head}{FORM} or "
            f"{head}{RESULTS}{PAYLOADS}…; "
            "producer and worker must be given the same store"
        )


def check_stored_key(key: str, prefix: str) -> None:
    """Reject a key under which this library stores no payload: of a message, a result or a handle.

    Raises:
        ClaimError: the key has another prefix or does not follow the grammar.
    """
    if ttl_days_of(key, prefix) is None:
        check_key(key, prefix)


def object_task_id(store: str, key: str) -> str:
    """Return the id of the task that gets an object which others stored, by the store's alias and the key.

    Whoever has stored the object knows the id before the task runs.
    """
    return str(uuid5(_OBJECTS, f"{store}/{key}"))


def _rest(key: str, prefix: str) -> str | None:
    head = below(prefix, "")
    return key[len(head) :] if key.startswith(head) else None


def _has_day(key: str) -> bool:
    """Say whether the calendar has the day in a key: digits alone can name a 99th month."""
    try:
        day_of(key)
    except ValueError:
        return False
    return True


def below(prefix: str, rest: str) -> str:
    """Return the key of something below a store's prefix, which may be empty."""
    return f"{prefix}/{rest}" if prefix else rest

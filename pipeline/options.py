"""Options of an application, with defaults and limits, checked at start-up."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import inf
from typing import Literal, TypedDict

from pipeline.aws.limits import SQS_FORMER_MESSAGE_LIMIT_BYTES, SQS_MESSAGE_LIMIT_BYTES

DAY_SECONDS = 86_400

REUSE_SECONDS = DAY_SECONDS
"""A retry reuses its payload if the payload is younger than this at the ETA of the retry; otherwise it stores
a new one. So a payload may be this much older than a message that names it; sweep and time chain add it."""

CENTURY_SECONDS = 36_525 * DAY_SECONDS
"""Maximum of ``payload_ttl_seconds``: dates are limited."""

THREADS_LIMIT_COUNT = 64
"""Maximum of ``upload_threads_count``."""

CHEAPER_OFFLOADED_BYTES = 458_752
"""A message that weighs more costs more than a claim with its payload: docs/explanation/costs.md has prices
and formula."""

PACK_LIMIT_BYTES = 1024**3
"""Maximum of ``pack_bytes``: a pack is in memory until it is stored."""

ALIAS = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How payloads are offloaded and kept.

    Raises:
        ValueError: a value is out of range or contradicts another.
    """

    alias: str = "default"
    """Name of the store in claims. Producers and workers must agree on it."""
    threshold_bytes: int | Literal["auto"] = SQS_FORMER_MESSAGE_LIMIT_BYTES
    """A task body heavier than this on the wire is offloaded; 0 offloads every one. The default suits
    brokers that stop at 256 KiB; ``auto`` offloads where S3 is cheaper than SQS, or the broker stops."""
    result_threshold_bytes: int = SQS_FORMER_MESSAGE_LIMIT_BYTES
    """An encoded result larger than this is offloaded; 0 offloads every one."""
    broker_limit_bytes: int = SQS_MESSAGE_LIMIT_BYTES
    """Largest message that the broker takes; 262,144 for brokers that stop there."""
    payload_limit_bytes: int = 1_073_741_824
    """Producer and worker reject a payload larger than this, before compression."""
    reserve_bytes: int = 4_096
    """Bytes reserved on the wire for headers and message attributes that others add later."""
    publish: bool = True
    """Whether the app writes this form. With False it only reads it: the first step of a rolling upgrade."""
    codec: str = "msgpack"
    """``msgpack``; or ``pickle``, if everyone who can write to the queue is trusted."""
    signing_key: bytes | None = field(default=None, repr=False)
    """Secret of producers and workers: they sign messages, and accept only signed ones."""
    accept_unsigned: bool = False
    """Whether unsigned messages are accepted with a ``signing_key``: only for its roll-out."""
    store_retry_seconds: float = 30.0
    """How long one attempt waits for a store that is unavailable."""
    payload_ttl_seconds: int = 35 * DAY_SECONDS
    """Age at which the bucket's lifecycle rule expires payloads; must outlive every message."""
    upload_threads_count: int = 8
    """How many payloads of a group or a batch are uploaded at the same time; 0 uploads each where it is
    published."""
    pack_bytes: int = 16_777_216
    """Largest pack: one object with many payloads of a group or a batch, those of up to a sixteenth of it.
    0 packs nothing."""
    read_ahead_bytes: int = 0
    """Most bytes of payloads that a prefork worker reads from the store while their messages wait for a free
    process. 0 reads nothing ahead."""
    read_ahead_directory: str | None = None
    """Where it keeps them; by default in memory (``/dev/shm``), or among temporary files."""

    def __post_init__(self) -> None:
        """Check each value, then each pair that must agree."""
        self._check_numbers()
        self._check_texts()
        _check_key(self.signing_key)
        if self.inline_limit_bytes > self.broker_limit_bytes:
            raise ValueError(
                f"threshold_bytes={self.threshold_bytes} is above broker_limit_bytes="
                f"{self.broker_limit_bytes}: such a body could neither travel inline nor be offloaded"
            )
        if self.accept_unsigned and self.signing_key is None:
            raise ValueError(
                "accept_unsigned=True without a signing_key has no effect: remove it, or set a key"
            )
        if self.signing_key and not self.publish and not self.accept_unsigned:
            raise ValueError(
                "publish=False writes unsigned messages, and with a signing_key nothing accepts them: "
                "set accept_unsigned=True as well, or publish=True"
            )

    @property
    def inline_limit_bytes(self) -> int:
        """The threshold in bytes on the wire: what travels inline weighs so much at most."""
        if self.threshold_bytes == "auto":
            return min(CHEAPER_OFFLOADED_BYTES, self.broker_limit_bytes)
        return self.threshold_bytes

    def _check_numbers(self) -> None:
        if self.threshold_bytes != "auto":
            _check_whole("threshold_bytes", self.threshold_bytes, least=0)
        for name in ("result_threshold_bytes", "reserve_bytes"):
            _check_whole(name, getattr(self, name), least=0)
        for name in ("broker_limit_bytes", "payload_limit_bytes"):
            _check_whole(name, getattr(self, name), least=1)
        _check_whole("pack_bytes", self.pack_bytes, least=0, most=PACK_LIMIT_BYTES)
        _check_whole("read_ahead_bytes", self.read_ahead_bytes, least=0)
        _check_whole("upload_threads_count", self.upload_threads_count, least=0, most=THREADS_LIMIT_COUNT)
        _check_whole("payload_ttl_seconds", self.payload_ttl_seconds, least=1, most=CENTURY_SECONDS)
        _check_kind(
            "store_retry_seconds", self.store_retry_seconds, (int, float), "a number of seconds above 0"
        )
        if isinstance(self.store_retry_seconds, bool) or not 0 < self.store_retry_seconds < inf:
            raise ValueError(
                f"store_retry_seconds={self.store_retry_seconds}: expected a number of seconds above 0"
            )

    def _check_texts(self) -> None:
        _check_kind("alias", self.alias, str, "a lower-case name such as 'default'")
        if not ALIAS.match(self.alias):
            raise ValueError(f"alias={self.alias!r}: expected a lower-case name such as 'default'")
        _check_kind("codec", self.codec, str, "'msgpack' or 'pickle'")
        if self.read_ahead_directory is not None:
            _check_kind("read_ahead_directory", self.read_ahead_directory, str, "the path of a directory")
        for name in ("publish", "accept_unsigned"):
            _check_kind(name, getattr(self, name), bool, "True or False")


class OptionValues(TypedDict, total=False):
    """The fields of :class:`Options` as keyword arguments, so that type checkers know their names and types.

    A test compares the two.
    """

    alias: str
    threshold_bytes: int | Literal["auto"]
    result_threshold_bytes: int
    broker_limit_bytes: int
    payload_limit_bytes: int
    reserve_bytes: int
    publish: bool
    codec: str
    signing_key: bytes | None
    accept_unsigned: bool
    store_retry_seconds: float
    payload_ttl_seconds: int
    upload_threads_count: int
    pack_bytes: int
    read_ahead_bytes: int
    read_ahead_directory: str | None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean …?)`` with the closest known name, or an empty string."""
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _check_whole(name: str, value: object, *, least: int, most: float = inf) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        bound = f"{least} or more" if most == inf else f"{least} to {most}"
        raise ValueError(f"{name}={value!r}: expected a whole number, {bound}")


def _check_kind(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Check a type; wrong configuration is a ``ValueError``."""
    if not isinstance(value, kind):
        raise ValueError(f"{name}={value!r}: expected {expected}")  # noqa: TRY004


def _check_key(key: object) -> None:
    """Check a signing key; no message contains it."""
    if key is None:
        return
    if not isinstance(key, bytes):
        raise ValueError(  # noqa: TRY004 - as above
            f"signing_key is a {type(key).__name__}: expected bytes, such as text.encode()"
        )
    if len(key) < 16:  # noqa: PLR2004 - 128 bits
        raise ValueError("signing_key is shorter than 16 bytes: use secrets.token_bytes(32)")

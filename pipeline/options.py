"""What an application may choose, with its defaults and its limits, checked when it is built."""

import re
from dataclasses import dataclass

DAY_SECONDS = 86_400

SQS_MESSAGE_LIMIT_BYTES = 1_048_576
"""Largest SQS message, attributes included. Source: SQS API Reference, SendMessage (since August 2025)."""

SQS_RETENTION_LIMIT_SECONDS = 14 * DAY_SECONDS
"""Longest that SQS keeps a message. Source: SQS API Reference, MessageRetentionPeriod."""

REUSE_SECONDS = DAY_SECONDS
"""A retry publishes its payload again if that is younger when the retry may run, and else stores it anew. So
a payload may be that much older than a message that names it: the sweep and the time chain count it in."""

ALIAS = re.compile(r"[a-z][a-z0-9_.-]{0,63}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How payloads are offloaded and kept.

    Raises:
        ValueError: a value is out of range or contradicts another; says which, and what to do.
    """

    alias: str = "default"
    """Name of the store in claims. Producers and workers must agree on it."""
    threshold_bytes: int = 262_144
    """A task body heavier than this on the wire is offloaded; 0 offloads every one. The default suits
    brokers that stop at 256 KiB; S3 becomes cheaper than SQS from 448 KiB on (docs/costs.md)."""
    result_threshold_bytes: int = 262_144
    """The same for results and other values, before the result backend wraps them."""
    broker_limit_bytes: int = SQS_MESSAGE_LIMIT_BYTES
    """Largest message that the broker takes; 262,144 for brokers that stop there."""
    payload_limit_bytes: int = 1_073_741_824
    """A payload larger than this, before compression, is refused by producer and worker."""
    reserve_bytes: int = 4_096
    """Room kept on the wire for properties and for headers that others add later."""
    publish: bool = True
    """Whether the app writes this form. With False it only reads it: the first step of a rolling upgrade."""
    codec: str = "msgpack"
    """``msgpack``, or ``pickle`` for those who trust everyone who can write to the queue."""
    signing_key: bytes | None = None
    """Secret shared by producers and workers: claims are signed, and unsigned ones refused."""
    store_retry_seconds: float = 30.0
    """How long one attempt waits for a store that is unavailable."""
    payload_ttl_seconds: int = 35 * DAY_SECONDS
    """Age at which the bucket's lifecycle rule expires payloads; must outlive every message."""

    def __post_init__(self) -> None:
        """Check each value, then each pair that must agree."""
        for name in ("threshold_bytes", "result_threshold_bytes", "reserve_bytes"):
            _at_least(0, name, getattr(self, name))
        for name in ("broker_limit_bytes", "payload_limit_bytes", "payload_ttl_seconds"):
            _at_least(1, name, getattr(self, name))
        if not ALIAS.match(self.alias):
            raise ValueError(f"alias={self.alias!r}: expected a lower-case name such as 'default'")
        if self.threshold_bytes > self.broker_limit_bytes:
            raise ValueError(
                f"threshold_bytes={self.threshold_bytes} is above broker_limit_bytes="
                f"{self.broker_limit_bytes}: such a body could neither travel inline nor be offloaded"
            )
        if self.store_retry_seconds <= 0:
            raise ValueError(f"store_retry_seconds={self.store_retry_seconds}: expected more than 0")
        if self.signing_key is not None and len(self.signing_key) < 16:  # noqa: PLR2004 - 128 bits
            raise ValueError("signing_key is shorter than 16 bytes: use secrets.token_bytes(32)")


def _at_least(least: int, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}={value!r}: expected a whole number of bytes or seconds, {least} or more")

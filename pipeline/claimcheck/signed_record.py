"""The record of one call: which delivery runs it, and its result; signed if there is a key.

A record is one object, ``<prefix>/once/v1/<40 hex digits>``, beside the payloads. It is either *in progress*
(a delivery runs the call, until ``expires`` at the latest) or *done* (it holds the result, which counts until
``expires``). What has expired is free. A record is only ever written on condition: that there is none, or
that it is still the one that was read. Who may do what with it is decided in ``idempotency/execution.py``.
"""

import hmac
from datetime import datetime

import msgspec
from blake3 import blake3

from pipeline.claimcheck.claim import Inline
from pipeline.claimcheck.keys import below
from pipeline.errors import PayloadCorruptError

UNSIGNED = b"claimcheck"
"""Key of the checksum where the application has no ``signing_key``: it finds damage, and no forger."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one call."""

    owner: str
    """Random name of the attempt that wrote it; makes each content, and so each tag, a new one."""
    expires: datetime
    """When it stops counting; aware, UTC, by the clock of the owner."""
    result: Inline | None = None
    """The encoded result, or None while the call is in progress."""


def record_key(prefix: str, task: str, text: str) -> str:
    """Return the key of one call's record. It shows only a hash of the text that identifies the call."""
    return key_below(prefix, "once", f"{len(task)}:{task}{text}")


def key_below(prefix: str, kind: str, text: str) -> str:
    """Return the key of a record of some kind: ``<prefix>/<kind>/v1/<40 hex digits>``, a hash of a text."""
    return below(prefix, f"{kind}/v1/{blake3(text.encode()).hexdigest(length=20)}")


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    content: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"_Wire({len(self.content)} bytes)"


_encode = msgspec.msgpack.Encoder().encode
_decode_wire = msgspec.msgpack.Decoder(_Wire).decode
_decode_record = msgspec.msgpack.Decoder(Record).decode


def write(record: Record, key: str, signing_key: bytes | None = None) -> bytes:
    """Return the content of a record: MessagePack ``[record, HMAC-SHA256 of its key and itself]``."""
    content = _encode(record)
    return _encode(_Wire(content, _sign(content, key, signing_key)))


def read(
    content: bytes, key: str, signing_key: bytes | None = None, *, accept_unsigned: bool = False
) -> Record:
    """Return the record in ``content``. Does no I/O.

    Args:
        content: as ``write`` made it.
        key: the key that it was read from.
        signing_key: with a key, every other signature is rejected.
        accept_unsigned: accepts the checksum of a record that was written without a key, too.

    Raises:
        PayloadCorruptError: it is damaged, was signed with another key, or belongs under another key.
    """
    try:
        wire = _decode_wire(content)
        keys = (signing_key, None) if accept_unsigned else (signing_key,)
        if any(hmac.compare_digest(_sign(wire.content, key, each), wire.signature) for each in keys):
            return _decode_record(wire.content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise PayloadCorruptError(f"record corrupt [key={key}]: it is no record of this library") from exc
    raise PayloadCorruptError(
        f"record corrupt [key={key}]: its signature is not ours; give all workers the same signing_key, or "
        "find who else writes to the bucket"
    )


def _sign(content: bytes, key: str, signing_key: bytes | None) -> bytes:
    return hmac.digest(signing_key or UNSIGNED, key.encode() + content, "sha256")

"""The claim: what travels instead of a payload, how it looks on the wire, and which keys it may name.

The message body is MessagePack, so that any language can read it::

    [version, message, signature]

    version     1
    message     a binary that holds a map:
                {"shape":   "task" | "value" | "meta" | "part" | "result",
                 "embed":   binary: callbacks, errbacks, chain and chord of a task, or what Celery writes
                            around a result: a map, a list, or nil,
                 "embed_codec": how that is encoded,
                 "shared":  whether another message names the payload as well, and releases it,
                 "shares":  [{"store", "key"}, …]: the shared payloads that its arguments name,
                 "payload": {"type": "inline", "data", "codec", "compression", "expanded_bytes"}
                          | {"type": "claim", "store", "key", "size_bytes", "digest",
                             "codec", "compression", "expanded_bytes", "created",
                             "offset": only in a pack}}
    signature   HMAC-SHA256 of `message`, or an empty binary

Unknown fields of a known version are ignored, so that a later release may add some; an unknown version is
rejected. Nothing in a message is trusted: it names a store by its configured alias, and a key that must
follow our grammar; a bucket, an endpoint or a URL has no place in it.
"""

import hmac
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from pipeline.aws.limits import S3_KEY_LIMIT_BYTES, S3_OBJECT_LIMIT_BYTES
from pipeline.claimcheck.compression import SMALLEST_BYTES
from pipeline.claimcheck.memory import Bytes
from pipeline.errors import ClaimError
from pipeline.options import REUSE_SECONDS

VERSION = 1
"""Wire version that this release writes, and the only one it reads."""

CONTENT_TYPE = "application/x-claimcheck"
"""Content type of a message body in this form."""

Size = Annotated[int, msgspec.Meta(ge=0, le=S3_OBJECT_LIMIT_BYTES)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_.-]*\Z")]

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=S3_KEY_LIMIT_BYTES)]

SHARES_COUNT = 100
"""So many shared payloads one message may name: each costs its worker two requests."""


class Inline(msgspec.Struct, frozen=True, kw_only=True, tag="inline"):
    """A payload small enough to travel in the message itself."""

    data: bytes
    codec: Name
    compression: Name
    expanded_bytes: Size
    """Size after decompression, in bytes."""

    def __repr__(self) -> str:
        """Say how much there is, and nothing of it: error trackers show what is in a frame."""
        return f"Inline({len(self.data)} bytes, codec={self.codec!r}, compression={self.compression!r})"


class Claim(msgspec.Struct, frozen=True, kw_only=True, tag="claim", omit_defaults=True):
    """Where a payload is stored, and how to verify it."""

    store: Name
    """Alias of a store in the reader's own configuration."""
    key: Key
    """Full key of the object, prefix included."""
    size_bytes: Size
    """Size of the payload as it is stored."""
    digest: Annotated[str, msgspec.Meta(pattern=r"^blake3:[0-9a-f]{64}\Z")]
    """Digest of the payload as it is stored."""
    codec: Name
    compression: Name
    expanded_bytes: Size
    """Size after decompression, in bytes."""
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    """When the payload was offloaded; aware, UTC."""
    offset: Size | None = None
    """In a pack: where in the object the payload begins. ``None``: it is the whole object."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A shared payload that a task is a member of: its end counts in the payload's ledger."""

    store: Name
    key: Key
    """Key of the payload, and not of its ledger."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message body: a payload, inline or claimed, and what Celery needs beside it."""

    shape: Literal["task", "value", "meta", "part", "result"]
    """``task``: the payload is ``[args, kwargs, links]``; ``value``: it is the body itself. The others are
    what result backends keep: a result in a map, at the end of a list (a part of a chord), or alone."""
    payload: Inline | Claim
    embed: bytes = b""
    """Callbacks, errbacks, chain and chord of a task, or what is around a result. Read before the payload."""
    embed_codec: Name = "msgpack"
    shared: bool = False
    """Whether another message names the payload as well, and is the one to release it with."""
    shares: Annotated[tuple[Share, ...], msgspec.Meta(max_length=SHARES_COUNT)] = ()
    """The shared payloads that the task's arguments name; here, so that a main process knows them."""

    def __repr__(self) -> str:
        """Say what kind it is, and nothing of the arguments in it."""
        return f"Message({self.shape!r}, {self.payload!r}, embed of {len(self.embed)} bytes)"


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    version: int
    message: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"_Wire({len(self.message)} bytes)"


class _Versioned(msgspec.Struct, frozen=True, array_like=True):
    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode_version = msgspec.msgpack.Decoder(_Versioned).decode
_decode_wire = msgspec.msgpack.Decoder(_Wire).decode
_decode_message = msgspec.msgpack.Decoder(Message).decode


def write(message: Message, signing_key: bytes | None = None) -> bytes:
    """Return the wire form of ``message``, signed if there is a key."""
    content = _encode(message)
    return _encode(_Wire(VERSION, content, _sign(content, signing_key)))


def size_bytes(message: Message, signing_key: bytes | None = None) -> int:
    """Return the size of what ``write`` returns, without a copy of the payload."""
    bare, data_bytes = message, 0
    if isinstance(message.payload, Inline):
        data_bytes = len(message.payload.data)
        bare = replace(message, payload=replace(message.payload, data=b""))
    content_bytes = len(_encode(bare)) + _added_bytes(data_bytes)
    return len(_encode(_Wire(VERSION, b"", _sign(b"", signing_key)))) + _added_bytes(content_bytes)


def _added_bytes(size: int) -> int:
    """Return how much a binary of that size adds to an empty one. Source: MessagePack specification, bin."""
    return size + (0 if size < 2**8 else 1 if size < 2**16 else 3)


def read(body: bytes, signing_key: bytes | None = None, *, accept_unsigned: bool = False) -> Message:
    """Return the message in ``body``. Does no I/O.

    Args:
        body: its wire form.
        signing_key: with a key, every other signature is rejected.
        accept_unsigned: accepts a message without signature, too.

    Raises:
        ClaimError: the version is unknown, a field is missing or of a wrong type or out of range, or the
            signature is not ours.
    """
    try:
        version = _decode_version(body).version
        if version != VERSION:
            raise ClaimError(
                f"claim rejected [version={version}]: this process reads version {VERSION} only; "
                "upgrade workers before producers"
            )
        wire = _decode_wire(body)
        if wire.signature or not accept_unsigned:
            _verify(wire, signing_key)
        return _decode_message(wire.message)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, RecursionError) as exc:
        raise ClaimError(f"claim rejected: the body is not {CONTENT_TYPE} version {VERSION}: {exc}") from exc


def _sign(content: bytes, signing_key: bytes | None) -> bytes:
    return hmac.digest(signing_key, content, "sha256") if signing_key else b""


def _verify(wire: _Wire, signing_key: bytes | None) -> None:
    if signing_key and not hmac.compare_digest(_sign(wire.message, signing_key), wire.signature):
        found = "a wrong signature" if wire.signature else "no signature"
        raise ClaimError(
            f"claim rejected: it carries {found}, and signing_key is set here; "
            "give producers and workers the same signing_key (docs/operate/security.md)"
        )


def is_young(claim: Claim, wait_seconds: float = 0.0, now: datetime | None = None) -> bool:
    """Say whether one more message, such as a retry's, may name a payload: the sweep counts on this limit.

    ``created`` is only as trustworthy as its message. A forged one harms the forger's own payload alone.

    Args:
        claim: of the attempt before.
        wait_seconds: time until the task may run again, which the payload's key knows nothing of.
        now: the time, if it is not the clock's.
    """
    age_seconds = ((now or datetime.now(UTC)) - claim.created).total_seconds()
    return abs(age_seconds) + wait_seconds < REUSE_SECONDS  # in the future: clocks differ


def claim_of(sealed: Inline, store: str, key: str, offset: int | None = None) -> Claim:
    """Return the claim of a payload that is stored now, under a key of a store, or in a pack."""
    return Claim(
        store=store,
        key=key,
        size_bytes=len(sealed.data),
        digest=digest_of(sealed.data),
        codec=sealed.codec,
        compression=sealed.compression,
        expanded_bytes=sealed.expanded_bytes,
        created=datetime.now(UTC),
        offset=offset,
    )


def check_sizes(claim: Claim) -> None:
    """Reject a claim whose sizes contradict each other.

    Raises:
        ClaimError: it states more bytes than offloading makes, or a range that no object has.
    """
    if claim.size_bytes > max(claim.expanded_bytes, SMALLEST_BYTES):
        raise ClaimError(
            f"claim rejected [key={claim.key}]: {claim.size_bytes} bytes cannot expand to "
            f"{claim.expanded_bytes}"
        )
    if claim.offset is None:
        return
    stop = claim.offset + claim.size_bytes
    if not claim.offset < stop <= S3_OBJECT_LIMIT_BYTES:
        raise ClaimError(
            f"claim rejected [key={claim.key}]: no object has bytes {claim.offset} to {stop}; a payload in a "
            f"pack has one byte at least and ends at {S3_OBJECT_LIMIT_BYTES} at most"
        )


def digest_of(data: Bytes) -> str:
    """Return the digest of stored bytes, as claims have it."""
    return f"blake3:{blake3(data).hexdigest()}"

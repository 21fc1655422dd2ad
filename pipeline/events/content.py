"""What an event carries: a value as JSON, or the claim of one that is large or that JSON would change.

::

    [1, 2]                                                          a value
    {"claimcheck": {"store": …, "key": …, "id": …}, "total": 7}     the claim of a value, and fields of it
    {"claimcheck-handle": {"store": …, "key": …, "id": …}}          a handle
    {"claimcheck": "kwHFASyF…", "metadata": {…}, …}                 what a pipe's enrichment has split

The fields of a claim are those of ``Handle.as_dict()``, an ``id``, a new one for each event, and a
``signature`` if the app has a ``signing_key``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from pipeline.claimcheck import claim_token
from pipeline.claimcheck.handles.handle import MARKER, Handle
from pipeline.claimcheck.handles.late_arguments import JSONText, StoredEvent, StoredValue
from pipeline.claimcheck.handles.stores import store_of
from pipeline.claimcheck.installed import installed
from pipeline.claimcheck.sharing import Shared
from pipeline.errors import ClaimError, MalformedError, PayloadEncodeError
from pipeline.events import signature

CLAIM = "claimcheck"
"""Field with the handle of a stored value: whoever receives the event gets the value."""

HANDLE = MARKER
"""Field with a handle that was published as one: whoever receives the event gets the handle."""

CLAIM_LIMIT_BYTES = 16_384
"""Largest claim that is read: keys and names have 1,024 characters at most."""

ID_LIMIT_CHARACTERS = 100


class _Content(msgspec.Struct):
    """What of an event's content the consumer reads. Builds nothing of the rest."""

    value: msgspec.Raw | msgspec.UnsetType = msgspec.field(name=CLAIM, default=msgspec.UNSET)
    handle: msgspec.Raw | msgspec.UnsetType = msgspec.field(name=HANDLE, default=msgspec.UNSET)


class Content(NamedTuple):
    """What arrived."""

    argument: Any
    """For a task: the handle, or what stands for the value until the task runs."""
    id: str
    """The same in all copies of an event; empty if its publisher gave it none."""


_decode_content = msgspec.json.Decoder(_Content).decode
_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


def json_of(value: Any, limit_bytes: int) -> str | None:
    """Return a value as JSON; ``None`` if it is larger, if JSON would change it, or if it looks like a claim.

    Args:
        value: of any type.
        limit_bytes: largest JSON.
    """
    try:
        data = msgspec.json.encode(value)
        is_equal = len(data) <= limit_bytes and bool(msgspec.json.decode(data) == value)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return None
    return data.decode() if is_equal and not _looks_like_a_claim(value) else None


def _looks_like_a_claim(value: Any) -> bool:
    return isinstance(value, Mapping) and (CLAIM in value or HANDLE in value)


def claim_of(handle: Handle, *, is_value: bool, fields: Mapping[str, Any] | None = None) -> str:
    """Return the claim of a stored value, or a handle, as JSON.

    Args:
        handle: of the payload.
        is_value: whether receivers get the value.
        fields: further ones, for filters and rules.

    Raises:
        PayloadEncodeError: a field is nothing that JSON has.
    """
    kind = CLAIM if is_value else HANDLE
    about = {**handle.as_dict(), "id": uuid4().hex}
    named = {kind: signature.signed(installed().options, kind, about)}
    if not fields:
        return msgspec.json.encode(named).decode()
    text = json_of(dict(fields), 2**30)
    if text is None:
        raise PayloadEncodeError(
            f"event not sent [fields={', '.join(map(str, fields))}]: JSON would change a field that travels "
            "beside the claim; use texts, numbers, booleans, lists and dicts with texts as keys"
        )
    return msgspec.json.encode({**fields, **named}).decode()


def read(text: str, stores: tuple[str, ...]) -> Content:
    """Return the content of an event for a task. Does no I/O.

    Args:
        text: as it arrived. Nothing in it is trusted.
        stores: aliases of further stores that a handle may name.

    Raises:
        MalformedError: it is not JSON, or its claim is not one of the app's store, or not signed as the
            app's are.
    """
    found = _parsed(text)
    _check_size(found)
    if found.value is not msgspec.UNSET:
        return _stored(found.value)
    if found.handle is not msgspec.UNSET:
        return Content(*_handle(HANDLE, found.handle, stores))
    return Content(JSONText(text), "")


def _parsed(text: str) -> _Content:
    try:
        if text.lstrip()[:1] == "{":
            return _decode_content(text)
        _decode_raw(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise MalformedError(f"its content is not JSON: {exc}") from None
    return _Content()


def _check_size(found: _Content) -> None:
    if any(
        each is not msgspec.UNSET and len(each) > CLAIM_LIMIT_BYTES for each in (found.value, found.handle)
    ):
        raise MalformedError(f"its claim is larger than {CLAIM_LIMIT_BYTES:,} bytes")


def _stored(content: msgspec.Raw) -> Content:
    """Return what a claim stands for: the one of ``claim_of``, or the text of a pipe's enrichment."""
    if bytes(content)[:1] != b'"':
        handle, name = _handle(CLAIM, content, ())
        return Content(StoredValue(handle) if handle.uses is None else Shared(handle), name)
    try:
        token = _decode_text(content)
        claim = claim_token.read(installed(), token)
    except (msgspec.MsgspecError, UnicodeError, ClaimError):
        raise MalformedError("its claim is none of this app's, or is not signed by it") from None
    return Content(StoredEvent(token), claim.key)


def _handle(kind: str, content: msgspec.Raw, stores: tuple[str, ...]) -> tuple[Handle, str]:
    claimcheck = installed()
    try:
        plain = _decode_fields(content)
        handle, name = Handle.from_dict(plain), plain.get("id", "")
        store_of(claimcheck, handle)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ClaimError):
        raise MalformedError("its claim names no payload of this app's store") from None
    if handle.store not in {claimcheck.options.alias, *stores}:
        raise MalformedError("its handle names a store that its door does not list")
    if not isinstance(name, str) or len(name) > ID_LIMIT_CHARACTERS:
        raise MalformedError("the id of its claim is not a short text")
    if not signature.is_ours(claimcheck.options, kind, plain):
        raise MalformedError("its claim is not signed with this app's signing_key")
    return handle, name

"""A claim as a text, for events: Base64 of a message body (docs/reference/wire-format.md).

The enrichments of EventBridge Pipes write it, and read it; doors read it, too.
"""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING, Any

from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Claim, Message
from pipeline.errors import ClaimError

if TYPE_CHECKING:
    from pipeline.claimcheck.claim_check import ClaimCheck

FIELD = "claimcheck"
"""Field of an event that has it."""


def written(claimcheck: "ClaimCheck", claim: Claim) -> str:
    """Return the text of a claim, signed if there is a key."""
    message = Message(shape="value", payload=claim)
    return b64encode(wire_form.write(message, claimcheck.options.signing_key)).decode()


def read(claimcheck: "ClaimCheck", token: str) -> Claim:
    """Return the claim in a text. Does no I/O.

    Raises:
        ClaimError: it is none, or not one that this process would make.
    """
    options = claimcheck.options
    try:
        body = b64decode(token, validate=True)
    except (Base64Error, ValueError) as exc:
        raise ClaimError(f"claim rejected: the field {FIELD!r} is not Base64") from exc
    message = wire_form.read(body, options.signing_key, accept_unsigned=options.accept_unsigned)
    if not isinstance(message.payload, Claim):
        raise ClaimError(f"claim rejected: the field {FIELD!r} holds a payload, and no claim")
    claimcheck.check(message.payload)
    return message.payload


def rehydrated(claimcheck: "ClaimCheck", token: str) -> Any:
    """Return the payload of a claim in a text: the value of JSON, and any other text as it is.

    Raises:
        PipelineError: as ``read`` and ``ClaimCheck.rehydrate``.
    """
    return value_of(claimcheck.rehydrate(read(claimcheck, token)))


def value_of(text: Any) -> Any:
    """Return the value of a JSON text, and any other text as it is: with ``NaN`` too, which JSON lacks."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, TypeError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)

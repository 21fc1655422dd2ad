"""Signs the claims and handles in events, where the app has a ``signing_key``.

What signs a message of a task does not cover an event, which services write anew on its way. So the signature
is one field more, over the others in a fixed order.
"""

import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.options import Options

FIELD = "signature"

_PURPOSE = b"claimcheck event "
"""Keeps it apart from other signatures with the same key."""


def signed(options: Options, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a claim, with their signature if there is a key.

    Args:
        options: of the app.
        kind: the name under which they travel.
        fields: of JSON's types.
    """
    key = options.signing_key
    return dict(fields) if key is None else {**fields, FIELD: _sign(key, kind, fields)}


def is_ours(options: Options, kind: str, fields: Mapping[str, Any]) -> bool:
    """Return whether an app with these options may use a claim that arrived."""
    given = fields.get(FIELD)
    if options.signing_key is None or (given is None and options.accept_unsigned):
        return True
    plain = {name: value for name, value in fields.items() if name != FIELD}
    return isinstance(given, str) and hmac.compare_digest(
        _sign(options.signing_key, kind, plain).encode(), given.encode()
    )


def _sign(key: bytes, kind: str, fields: Mapping[str, Any]) -> str:
    content = msgspec.json.encode([kind, fields], order="deterministic")
    return hmac.digest(key, _PURPOSE + content, "sha256").hex()

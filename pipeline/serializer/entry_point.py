"""Registers serializer and transport with Kombu, in every process that has this library installed.

``celery_claimcheck_entry_point`` calls it while ``kombu.serialization`` is being imported, so nothing here
may import Celery, or what needs Kombu's serializers. Source: kombu 5.7.0, ``serialization.py``, last lines.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.utils import json

from pipeline.claimcheck import sharing
from pipeline.claimcheck.claim import CONTENT_TYPE
from pipeline.claimcheck.handles import handle
from pipeline.claimcheck.handles import late_arguments as late
from pipeline.claimcheck.handles.handle import Handle
from pipeline.claimcheck.sharing import Shared
from pipeline.serializer import yaml_handles

ALIAS = "claimcheck-sqs"
"""The scheme of a broker's URL that means our SQS transport, for programs that know no app of ours."""
TRANSPORT = "pipeline.transport:Transport"


# Before anything is decoded: Kombu raises for a type that it does not know, and Celery acks such a message.
json.register_type(Handle, handle.MARKER, sharing.handle_written, handle.arrived)
json.register_type(Shared, sharing.MARKER, sharing.written, sharing.restored)
json.register_type(
    late.StoredText, "claimcheck-stored-text", lambda it: it.handle.as_dict(), late.text_received
)
json.register_type(
    late.StoredValue, "claimcheck-stored-value", lambda it: it.handle.as_dict(), late.value_received
)
json.register_type(late.StoredEvent, "claimcheck-stored-event", lambda it: it.token, late.event_received)
json.register_type(late.JSONText, "claimcheck-json", lambda it: it.text, late.json_received)


def encode(body: Any) -> bytes:
    """See :func:`pipeline.serializer.serializer.encode`."""
    from pipeline.serializer import serializer  # noqa: PLC0415

    try:
        return serializer.encode(body)
    finally:
        del body  # error trackers show what is in a frame


def decode(body: bytes) -> Any:
    """See :func:`pipeline.serializer.serializer.decode`."""
    from pipeline.serializer import serializer  # noqa: PLC0415

    return serializer.decode(body)


def register() -> tuple[Any, ...]:
    """Register what Kombu has no entry point for, and return our serializer's registration.

    The caller logs an error in one sentence, and Kombu goes on without this library.

    Returns:
        The arguments of ``kombu.serialization.register``, after the name.
    """
    TRANSPORT_ALIASES.setdefault(ALIAS, TRANSPORT)
    yaml_handles.register()
    return encode, decode, CONTENT_TYPE, "binary"

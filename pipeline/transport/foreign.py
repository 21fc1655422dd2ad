"""Messages that no Celery has sent: they go to the door of their queue, which makes envelopes of them.

A queue with a door takes envelopes of Kombu as every queue does: the retries of its tasks come back as such.
Doors are made above the transport, and given to it as the transport option ``doors``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec

from pipeline.claimcheck.headers import REMOVES
from pipeline.telemetry.delivery_info import QUEUE_NAME
from pipeline.transport.envelope import Envelope

OPTION = "doors"
"""The transport option with a :class:`Translator`; ``pipeline.install`` sets it."""

DOOR = "door"
"""Key of the delivery info: the :class:`Translation` of a message that a door has read. What its sender has
written there is none."""

MESSAGE_ATTRIBUTES = "MessageAttributeNames"
SYSTEM_ATTRIBUTES = "MessageSystemAttributeNames"
"""Names of parameters of ReceiveMessage, as Kombu has them too."""

NOT_ADMITTED = (
    "a message of Celery for another task than the door's, and publishers choose the whole message; give "
    "this app a signing_key, or send its own tasks to another queue"
)
"""Fault of such a message."""

READ_ATTRIBUTES = ("MessageGroupId",)
"""System attributes that are received for doors."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a door has made of a message."""

    envelope: Envelope = field(default_factory=dict, repr=False)
    """Body, content type, headers and properties of a task, as Kombu has them; empty if there is no task."""
    fault: str = ""
    """Why no task could be made of it, without any of its text; empty if one could."""
    is_empty: bool = False
    """Whether it holds nothing for a task: then it is deleted."""


class Translator(Protocol):
    """Translates the messages of queues with doors. Does no I/O."""

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the queues with doors, as Kombu has them."""

    def __contains__(self, queue: str) -> bool:
        """Return whether a queue has a door."""

    def translate(self, queue: str, sqs_message: Mapping[str, Any]) -> Translation:
        """Return what the queue's door makes of a message. Never raises."""

    def admits(self, queue: str, task: str) -> bool:
        """Return whether a message of Celery may go past the door of its queue.

        Args:
            queue: with a door.
            task: name of its task; empty if its headers do not say it.
        """

    def removed(self, queue: str, named: Any) -> Any:
        """Return what is to be deleted with a task; None if its queue's door deletes nothing like it.

        Args:
            queue: with a door.
            named: what the task's header says, from anybody.
        """

    def sender(self, queue: str) -> Any:
        """Return what sends plain messages to a queue instead of tasks, or ``None``."""


def doors_in(transport_options: Mapping[str, Any]) -> Translator:
    """Return the doors in transport options; without any, an empty one."""
    return cast("Translator", transport_options.get(OPTION) or {})


def with_all_attributes(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of the attributes to receive: doors read all that a sender has set."""
    return {
        MESSAGE_ATTRIBUTES: ["All"],
        SYSTEM_ATTRIBUTES: [*wanted[SYSTEM_ATTRIBUTES], *READ_ATTRIBUTES],
    }


def unpacked(channel: Any, message: Mapping[str, Any], queue: str, url: str) -> Envelope | None:
    """Return the envelope that a door makes of a message; ``None`` for a message that Kombu unpacks."""
    if queue not in channel.doors:
        return None
    found = _envelope_in(channel._decode_python_message_body(message["Body"]))  # noqa: SLF001
    if found is None:
        translation = channel.doors.translate(queue, message)
    elif channel.doors.admits(queue, _task_of(found)):
        return None
    else:
        translation = Translation(fault=NOT_ADMITTED)
    envelope: Envelope = channel._envelope_payload(translation.envelope, "", message, url)  # noqa: SLF001
    envelope["properties"]["delivery_info"][DOOR] = translation
    return envelope


def removed_with(message: Any) -> Any:
    """Return what is to be deleted when a message has settled, for the worker's releaser; None if nothing."""
    named, queue = message.headers.get(REMOVES), (message.delivery_info or {}).get(QUEUE_NAME)
    if named is None or queue not in message.channel.doors:
        return None
    return message.channel.doors.removed(queue, named)


class _Envelope(msgspec.Struct):
    """What all envelopes of Kombu have. Source: kombu 5.7.0, ``transport/virtual`` (``prepare_message``)."""

    body: msgspec.Raw
    headers: msgspec.Raw
    properties: msgspec.Raw
    content_type: msgspec.Raw = msgspec.field(name="content-type")
    content_encoding: msgspec.Raw = msgspec.field(name="content-encoding")


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class _Headers(msgspec.Struct):
    task: str = ""


_decode_headers = msgspec.json.Decoder(_Headers | None).decode


def _envelope_in(text: bytes) -> _Envelope | None:
    """Return the envelope of Kombu that a message is, if it is one. Builds no objects of what is in it."""
    try:
        return _decode_envelope(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _task_of(envelope: _Envelope) -> str:
    """Return the name of the task that an envelope calls; empty if its headers do not say it."""
    try:
        return (_decode_headers(envelope.headers) or _Headers()).task
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""

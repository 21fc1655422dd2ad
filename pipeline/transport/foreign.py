"""Messages that no Celery has sent: they go to the door of their queue, which makes envelopes of them.

A queue with a door takes envelopes of Kombu as every queue does: the retries of its tasks come back as such.
Doors are made above the transport, and given to it as the transport option ``doors``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import msgspec
from kombu.transport.SQS import Channel as SQSChannel

from pipeline.transport.envelope import Envelope

OPTION = "doors"
"""The transport option with a :class:`Translator`; ``pipeline.install`` sets it."""

DOOR = "door"
"""Key of the delivery info: the :class:`Translation` of a message that a door has read. What its sender has
written there is none."""

MESSAGE_ATTRIBUTES = "MessageAttributeNames"
SYSTEM_ATTRIBUTES = "MessageSystemAttributeNames"
"""Names of parameters of ReceiveMessage, as Kombu has them too."""

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
    removes: Any = None
    """What is to be deleted when the message has settled, for the worker's releaser."""


class Translator(Protocol):
    """Translates the messages of queues with doors. Does no I/O."""

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the queues with doors, as Kombu has them."""

    def __contains__(self, queue: str) -> bool:
        """Return whether a queue has a door."""

    def translate(self, queue: str, sqs_message: Mapping[str, Any]) -> Translation:
        """Return what the queue's door makes of a message. Never raises."""

    def sender(self, queue: str) -> Any:
        """Return what sends plain messages to a queue instead of tasks, or ``None``."""


class ForeignMixin(SQSChannel):
    """The part of a channel that gives foreign messages to doors, before Kombu looks at them."""

    @property
    def doors(self) -> Translator:
        """The doors of the app; without any, an empty one."""
        return cast("Translator", self.transport_options.get(OPTION) or {})

    @property
    def get_message_attributes(self) -> dict[str, Any]:
        """The names of the attributes to receive with each message: doors read all that a sender has set."""
        wanted: dict[str, Any] = super().get_message_attributes
        if not self.doors:
            return wanted
        return {
            MESSAGE_ATTRIBUTES: ["All"],
            SYSTEM_ATTRIBUTES: [*wanted[SYSTEM_ATTRIBUTES], *READ_ATTRIBUTES],
        }

    def send_plain(self, queue: str, body: str, attributes: Mapping[str, Any]) -> None:
        """Send a message that is no envelope of Kombu, with the attributes of its sender."""
        url = self._new_queue(queue)
        client = self.sqs(queue=self.canonical_queue_name(queue))
        client.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=dict(attributes))

    def _message_to_python(self, message: dict[str, Any], queue_name: str, q_url: str) -> Envelope:
        text = message["Body"]
        if queue_name not in self.doors or _is_envelope(self._decode_python_message_body(text)):
            envelope: Envelope = super()._message_to_python(message, queue_name, q_url)
            return envelope
        translation = self.doors.translate(queue_name, message)
        envelope = self._envelope_payload(translation.envelope, "", message, q_url)
        envelope["properties"]["delivery_info"][DOOR] = translation
        return envelope


class _Envelope(msgspec.Struct):
    """What all envelopes of Kombu have. Source: kombu 5.7.0, ``transport/virtual`` (``prepare_message``)."""

    body: msgspec.Raw
    headers: msgspec.Raw
    properties: msgspec.Raw
    content_type: msgspec.Raw = msgspec.field(name="content-type")
    content_encoding: msgspec.Raw = msgspec.field(name="content-encoding")


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def _is_envelope(text: bytes) -> bool:
    """Return whether a message is an envelope of Kombu. Builds no objects of what is in it."""
    try:
        _decode_envelope(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True

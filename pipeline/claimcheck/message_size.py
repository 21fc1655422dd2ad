"""The size of a message on the wire, computed from its body and headers here only.

Kombu's virtual transports encode the body in base64 and put it into a JSON envelope with headers and
properties: 1.33 bytes for one. Its SQS transport encodes that once more, which ours does only if it is asked
to: JSON may travel as it is. A body of 780 KB fills a message of 1 MiB. SQS counts message attributes, too.
Source: kombu 5.7.0, ``transport/virtual/base.py`` (``body_encoding``), ``transport/SQS`` (``_put``).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

FRAME_BYTES = 512
"""What stands around body, headers and properties at most: names of fields, the delivery tag, the delay, the
deduplication id, and the marks of a shared and of a compressed message."""

_LAYERS = {"sqs": 1, "amqp": 0, "amqps": 0, "pyamqp": 0, "memory": 1}
_LAYERS_ELSEWHERE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What travels beside a body, as far as it is known before the body is encoded."""

    headers: dict[str, Any] = field(default_factory=dict, repr=False)
    """The message's own: the encoder may still write to them. Until it has, they show a task's arguments."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """As Kombu gets them: message attributes and a message group among them."""
    route: Sequence[str] = ()
    """Names of exchange, routing key and queue."""
    is_compressed: bool = False
    """Whether Kombu compresses the body once more."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How a transport wraps a body."""

    base64_layers: int
    """0: as it is; 1: the body in base64 (virtual transports); 2: the whole envelope again."""
    reserve_bytes: int
    """Bytes reserved for headers and attributes that others add later."""
    dumps: Callable[[Any], str] = json.dumps
    """What writes the envelope."""

    @classmethod
    def of(
        cls,
        transport: str,
        reserve_bytes: int,
        *,
        whole: bool = False,
        dumps: Callable[[Any], str] = json.dumps,
    ) -> Self:
        """Return the wire of a Kombu transport, by its URL scheme.

        Args:
            transport: ``sqs``, ``redis``, ``amqp`` …
            reserve_bytes: see ``Options``.
            whole: whether the envelope is encoded too, as the transport option ``sqs_base64_encoding`` sets.
            dumps: writes the envelope, as the transport does.
        """
        layers = _LAYERS.get(transport, _LAYERS_ELSEWHERE)
        return cls(layers + 1 if whole and transport == "sqs" else layers, reserve_bytes, dumps)

    def size_bytes(self, body_bytes: int, envelope: Envelope) -> int:
        """Return what a body of ``body_bytes`` weighs in an envelope: at most so much, in bytes."""
        body = _compressed(body_bytes) if envelope.is_compressed else body_bytes
        size = FRAME_BYTES + self.reserve_bytes + (_base64(body) if self.base64_layers else body)
        properties = dict(envelope.properties)
        attributes = properties.pop("message_attributes", None)
        size += sum(len(self._text(part)) for part in (envelope.headers, properties, envelope.route))
        return (_base64(size) if self.base64_layers > 1 else size) + attributes_bytes(attributes)

    def _text(self, part: Any) -> str:
        try:
            return self.dumps(part)
        except (TypeError, ValueError):  # AMQP takes more than JSON does; elsewhere Kombu raises later
            return json.dumps(part, default=str)


def attributes_bytes(attributes: object) -> int:
    """Return the size of message attributes as SQS counts them: names, types and values.

    Source: SQS Developer Guide, "Amazon SQS message quotas".
    """
    if not isinstance(attributes, Mapping):
        return 0
    fields = [each for each in attributes.values() if isinstance(each, Mapping)]
    return sum(map(_text_bytes, [*attributes, *(value for each in fields for value in each.values())]))


def _text_bytes(value: object) -> int:
    return len(value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass"))


def _base64(size: int) -> int:
    return (size + 2) // 3 * 4


def _compressed(size: int) -> int:
    """Return the size of what does not compress, at most: bzip2 adds most, 1 % by its manual."""
    return size + size // 100 + 600

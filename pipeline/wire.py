"""Is it too big? The one place that knows what a body weighs once it is on the wire.

Kombu's virtual transports encode the body in base64 and put it into a JSON envelope with headers and
properties: 1.33 bytes for one. Its SQS transport encodes that once more, which ours does only if it is asked
to: JSON may travel as it is. A body of 780 KB fills a message of 1 MiB.
Source: kombu 5.7.0, ``transport/virtual/base.py`` (``body_encoding``), ``transport/SQS`` (``_put``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

_LAYERS = {"sqs": 1, "amqp": 0, "amqps": 0, "pyamqp": 0, "memory": 1}
_LAYERS_ELSEWHERE = 1


@dataclass(frozen=True, slots=True)
class Wire:
    """How a transport wraps a body."""

    base64_layers: int
    """0: as it is; 1: the body in base64 (virtual transports); 2: the whole envelope again."""
    reserve_bytes: int
    """Room for properties and for headers that others add after us."""

    @classmethod
    def of(cls, transport: str, reserve_bytes: int, *, whole: bool = False) -> Self:
        """Return the wire of a Kombu transport, by its URL scheme.

        Args:
            transport: ``sqs``, ``redis``, ``amqp`` …
            reserve_bytes: see :class:`Options`.
            whole: whether the envelope is encoded too, as SQS's option ``sqs_base64_encoding`` says.
        """
        layers = _LAYERS.get(transport, _LAYERS_ELSEWHERE)
        return cls(layers + 1 if whole and transport == "sqs" else layers, reserve_bytes)

    def size_bytes(self, body_bytes: int, headers: Mapping[str, Any]) -> int:
        """Return what a body of ``body_bytes`` with these headers weighs on the wire, in bytes."""
        size = _base64(body_bytes) if self.base64_layers else body_bytes
        size += self.reserve_bytes + len(json.dumps(headers, default=str))
        return _base64(size) if self.base64_layers > 1 else size


def _base64(size: int) -> int:
    return (size + 2) // 3 * 4

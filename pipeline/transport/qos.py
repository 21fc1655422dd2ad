"""Kombu's register of deliveries that take a prefetch slot; SQS's messages in flight are in ``in_flight``."""

from typing import Any

from kombu.transport import SQS

FULL_SECONDS = 0.01
"""How long no messages are asked for when the prefetch is full.

Kombu waits for ``polling_interval``, a second by default: one prefetch of short tasks a second.
Source: kombu 5.7.0, ``transport/SQS/__init__.py`` (``_schedule_queue``, ``_loop1``).
"""


class QoS(SQS.QoS):
    """Kombu's register of deliveries, which passes each of them on to the channel."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a delivery."""
        super().append(message, delivery_tag)
        self.channel.arrivals.take(message, delivery_tag)

    def pause_seconds(self) -> float:
        """Return how long no messages must be asked for; 0 if there is a free slot."""
        return 0.0 if self.can_consume() else FULL_SECONDS

    def restore_unacked(self) -> list[Any]:
        """Return to SQS what a channel that closes has not settled."""
        if self.channel.closed:
            self._flush()
            self.channel.give_back(list(self._delivered))
            self._delivered.clear()
        errors: list[Any] = super().restore_unacked()
        return errors

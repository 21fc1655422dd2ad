"""Kombu's register of deliveries that take a prefetch slot; SQS's messages in flight are in ``in_flight``."""

from typing import Any

from kombu.transport import SQS


class QoS(SQS.QoS):
    """Kombu's register of deliveries, which passes each of them on to the channel."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Take a delivery."""
        super().append(message, delivery_tag)
        self.channel.arrivals.take(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Free the slot of a delivery."""
        super().ack(delivery_tag)
        self.channel.asking.slot_freed()

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Free the slot of a delivery that is returned or given up."""
        super().reject(delivery_tag, requeue=requeue)
        self.channel.asking.slot_freed()

    def restore_unacked(self) -> list[Any]:
        """Return to SQS what a channel that closes has not settled."""
        if self.channel.closed:
            self._flush()
            self.channel.give_back(list(self._delivered))
            self._delivered.clear()
        errors: list[Any] = super().restore_unacked()
        return errors

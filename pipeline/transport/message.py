"""Kombu's message, which says that it is acknowledged only when SQS has confirmed that it is gone."""

from typing import Any

from kombu.message import ACK_STATES
from kombu.transport import virtual

from pipeline.transport.envelope import LIMIT, Envelope, emptied, receive_count


class Message(virtual.Message):
    """A message that knows whether it has settled."""

    settles_later: bool = False
    """Whether its acknowledgement may be collected with others. Off, :meth:`ack` returns once it has settled
    and raises if it cannot; Celery promises that to tasks that are acknowledged before they run."""

    settling: bool = False
    """Whether it was acknowledged and SQS is still being asked."""

    unsettled: bool = False
    """Whether it was acknowledged and SQS will never confirm: it is delivered again."""

    refused: bool = False
    """Whether nobody could make a task of it. It goes to the dead-letter queue, and is never deleted."""

    fault: str = ""
    """What Kombu raised when it unpacked the message; then there is nothing in it."""

    started: bool = False
    """Whether a pool has taken it on. Then it is not given back while this process may still settle it."""

    def __init__(self, payload: Envelope, channel: Any = None, **options: Any) -> None:
        try:
            super().__init__(payload, channel, **options)
        except Exception as exc:  # noqa: BLE001 - whatever is wrong, the worker must live to refuse it
            super().__init__(emptied(payload), channel, **options)
            self.fault = type(exc).__name__

    @property
    def receive_count(self) -> int:
        """How often SQS has delivered it, this time included."""
        return receive_count(self.delivery_info.get("sqs_message", {}))

    @property
    def acknowledged(self) -> bool:
        """Whether it was rejected, or acknowledged and has settled. May be read by any thread."""
        asked = self._state == "ACK" and (self.settling or self.unsettled)
        return self._state in ACK_STATES and not asked

    @property
    def is_dead_next(self) -> bool:
        """Whether SQS moves it to the dead-letter queue instead of delivering it once more."""
        limit = self.delivery_info.get(LIMIT)
        return bool(limit) and self.receive_count >= limit

    @property
    def is_last_delivery(self) -> bool:
        """Whether it will not be delivered again if it is rejected: dead next, or deleted at once."""
        return self.is_dead_next or not self.delivery_info.get(LIMIT)

    def ack(self, multiple: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Acknowledge; a second time is an error although the first has not settled yet."""
        self._check_state()
        super().ack(multiple=multiple)

    def reject(self, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - Kombu's signature
        """Give the message back."""
        self._check_state()
        super().reject(requeue=requeue)

    def hide(self, seconds: int) -> bool:
        """Give the message back for a time, and say whether SQS has agreed; if not, it stays ours."""
        self._check_state()
        hidden: bool = self.channel.hide(self.delivery_tag, seconds)
        if hidden:
            self._state = "REQUEUED"
        return hidden

    def requeue(self) -> None:
        """Give the message back, to be delivered again."""
        self._check_state()
        super().requeue()

    def _check_state(self) -> None:
        if self._state in ACK_STATES:
            raise self.MessageStateError(f"Message already acknowledged with state: {self._state}")

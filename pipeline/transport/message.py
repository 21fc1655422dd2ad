"""Kombu's message, which counts as acknowledged only after SQS has confirmed its delete."""

import sys
from typing import Any

from kombu.message import ACK_STATES
from kombu.serialization import SKIP_DECODE, TRUSTED_CONTENT
from kombu.transport import virtual

from pipeline.transport.envelope import (
    COMPRESSION,
    LIMIT,
    Envelope,
    emptied,
    receive_count,
    uncompressed,
)
from pipeline.transport.expansion import ExpansionError, expand
from pipeline.transport.foreign import DOOR, Translation, removed_with
from pipeline.transport.hops import Hop


class Message(virtual.Message):
    """A message with the state of its settling."""

    settles_later: bool = False
    """Whether its acknowledgement may be collected with others. If not, :meth:`ack` returns when it has
    settled, and raises if it cannot. Celery relies on that where tasks are acknowledged before they run."""

    settling: bool = False
    """Whether it was acknowledged and SQS is still being asked."""

    unsettled: bool = False
    """Whether it was acknowledged and its delete will never be confirmed: SQS delivers it again."""

    is_hopping: bool = False
    """Whether it is being sent again: it is deleted after that."""

    is_rejected: bool = False
    """Whether no task could be made of it. It goes to the dead-letter queue, and is never deleted."""

    fault: str = ""
    """Why it could not be unpacked; empty otherwise. Such a message has no body."""

    is_empty: bool = False
    """Whether the door of its queue found nothing for a task in it: it is to be deleted."""

    removes: Any = None
    """What is to be deleted once its task has ended and it has settled. ``None`` if nothing."""

    started: bool = False
    """Whether a pool has started it. It is not returned while this process may still settle it."""

    def __init__(self, payload: Envelope, channel: Any = None, **options: Any) -> None:
        try:
            super().__init__(uncompressed(payload), channel, **options)
        except Exception as exc:  # noqa: BLE001 - whatever is wrong, the worker must be able to reject it
            super().__init__(emptied(payload), channel, **options)
            self.fault = type(exc).__name__
        else:
            self._expand((payload.get("headers") or {}).get(COMPRESSION))
            self.removes = removed_with(self)
        translation = (self.delivery_info or {}).get(DOOR)
        if isinstance(translation, Translation):
            self.fault, self.is_empty = translation.fault, translation.is_empty

    def _expand(self, compression: Any) -> None:
        """Expand the body as Kombu does, but within a limit."""
        if not compression:
            return
        self.headers = {**self.headers, COMPRESSION: compression}
        try:
            self.body = expand(self.body or b"", compression)
        except ExpansionError as exc:
            self.fault, self.body = str(exc), b""
            self.errors.append(sys.exc_info())  # Kombu raises it before it decodes

    def _decode(self) -> Any:
        """Decode the body, with nothing but a codec of text where its type has no serializer.

        Kombu hands such a body to any of Python's codecs; some of those expand. Source: kombu 5.7.0,
        ``serialization.py`` (``loads``).
        """
        encoding = str(self.content_encoding or "utf-8").lower()
        is_plain = (self.content_type or "application/data") in TRUSTED_CONTENT
        if is_plain and encoding not in SKIP_DECODE and isinstance(self.body, bytes):
            return self.body.decode(encoding)
        return super()._decode()

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
    def is_ended(self) -> bool:
        """Whether its consumer has acknowledged it, settled or not; one that was rejected has not ended."""
        return bool(self._state == "ACK")

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
        """Reject the message."""
        self._check_state()
        super().reject(requeue=requeue)

    def hide(self, seconds: int) -> bool:
        """Return the message after some seconds. ``False`` if SQS does not confirm: it stays in flight."""
        self._check_state()
        hidden: bool = self.channel.hide(self.delivery_tag, seconds)
        if hidden:
            self._state = "REQUEUED"
        return hidden

    def hop(self, hop: Hop) -> bool:
        """Send the message again, and delete this one when SQS has confirmed; ``False`` if it is gone."""
        self._check_state()
        self.is_hopping = self.channel.hop(self.delivery_tag, hop)
        return self.is_hopping

    def hopped(self) -> None:
        """Note that the message was sent again: this one is acknowledged. Called by the settler's thread."""
        self.settling, self.is_hopping = True, False
        self._state = "ACK"
        self.channel.free_slot(self.delivery_tag)

    def requeue(self) -> None:
        """Return the message, to be delivered again."""
        self._check_state()
        super().requeue()

    @property
    def is_open(self) -> bool:
        """Whether its consumer has neither acknowledged, rejected nor returned it."""
        return self._state not in ACK_STATES

    def _check_state(self) -> None:
        if not self.is_open:
            raise self.MessageStateError(f"Message already acknowledged with state: {self._state}")

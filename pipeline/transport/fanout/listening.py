"""Queues that live as long as one process: they receive events, commands, broadcasts, or replies.

A queue that is declared to end with its consumer, and bound to a fanout exchange, becomes a listener; so does
a queue that receives replies to remote control. All of them are consumed without acknowledgement.
Source: kombu 5.7.0, ``transport/virtual/base.py`` (``queue_declare``, ``queue_bind``, ``drain_events``),
``transport/SQS/__init__.py``, ``pidbox.py``.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty
from time import sleep
from typing import Any

from kombu.exceptions import KombuError, OperationalError
from kombu.transport.SQS.exceptions import UndefinedQueueException

from pipeline.aws.limits import SQS_BATCH_COUNT
from pipeline.transport.addressing import Names
from pipeline.transport.fanout import mailbox
from pipeline.transport.fanout.events import Audience
from pipeline.transport.fanout.exchanges import Exchanges
from pipeline.transport.fanout.listeners import Listener, Listeners, retention_seconds
from pipeline.transport.fanout.replies import AGAIN_SECONDS, Replies
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.sqs_errors import ABSENT, FAILURES, code, meaning_of

PAUSE_SECONDS = 2.0
"""How often a worker checks whether its mailbox could be made by now."""

Declaration = dict[str, Any]


@dataclass(eq=False)
class Listening:
    """Makes, reads and removes the listeners of one channel."""

    listeners: Listeners
    declared: dict[str, Declaration]
    """The connection's queues that are declared, and not made yet: they may become listeners."""
    exchanges: Exchanges
    replies: Replies
    names: Names
    options: Mapping[str, Any]
    """The transport options."""
    sqs: Callable[..., Any]
    """Returns an SQS client; for a predefined queue, by SQS's name."""
    unbind: Callable[[str], None]
    """Removes a queue's bindings from Kombu's state."""

    @property
    def _predefined(self) -> Mapping[str, Any]:
        predefined: Mapping[str, Any] = self.options.get("predefined_queues") or {}
        return predefined

    def includes(self, queue: str) -> bool:
        """Return whether a queue is a listener, or may become one."""
        return queue in self.declared or self.listeners.get(queue) is not None

    def is_pending(self, queue: str) -> bool:
        """Return whether a listener's queue could not be made yet."""
        listener = self.listeners.get(queue)
        return listener is not None and not listener.url

    def bind(self, queue: str, exchange: str) -> None:
        """Make a declared queue a listener of an exchange.

        Raises:
            OperationalError: its queue could not be made. A worker's mailbox waits until it can instead.
        """
        declaration = self.declared.pop(queue)
        if self.listeners.get(queue) is not None:
            return
        try:
            listener = self._new_listener(queue, exchange, declaration)
            if mailbox.is_mailbox(queue):
                self.listeners.add(listener)
            if not listener.is_predefined:
                listener.open()
                if mailbox.is_reply_queue(queue):
                    self.replies.made()
        except (*FAILURES, KombuError) as exc:
            _not_made(queue, exc)
        else:
            self.listeners.add(listener)

    def _new_listener(self, queue: str, exchange: str, declaration: Declaration) -> Listener:
        is_reply = mailbox.is_reply_queue(queue)
        topic = None if is_reply else self.exchanges.topic(exchange)
        ttl = (declaration.get("arguments") or {}).get("x-message-ttl", 0)
        listener = Listener(
            queue=queue,
            new_name=partial(self.names.of_listener, queue, is_new=not is_reply),
            sqs=None if self._predefined else self.sqs(),
            topic=topic,
            retention_seconds=retention_seconds(ttl / 1_000),
            tags=self.options.get("queue_tags") or {},
        )
        return self._predefined_listener(listener, exchange) if self._predefined else listener

    def _predefined_listener(self, listener: Listener, exchange: str) -> Listener:
        """Put a listener on the queue that is predefined under its own name or its exchange's."""
        for name in (listener.queue, exchange):
            listener.name = self.names.of(name)
            if listener.name in self._predefined:
                listener.url = self._predefined[listener.name]["url"]
                listener.sqs, listener.is_predefined = self.sqs(queue=listener.name), True
                return listener
        raise UndefinedQueueException(f"{listener.queue} is not in predefined_queues, nor is {exchange}")

    def receive(self, listener: Listener, wait_seconds: int, timeout_seconds: float | None) -> Any:
        """Ask SQS for the messages of a listener; for replies, no longer than the timeout."""
        is_reply = mailbox.is_reply_queue(listener.queue)
        if is_reply and timeout_seconds is not None:
            wait_seconds = min(wait_seconds, max(math.ceil(timeout_seconds), 1))
        answer = listener.sqs.receive_message(
            QueueUrl=listener.url, MaxNumberOfMessages=SQS_BATCH_COUNT, WaitTimeSeconds=wait_seconds
        )
        if is_reply and answer.get("Messages"):
            self.replies.arrived()
        return answer

    @contextmanager
    def waiting(self, queue: str) -> Iterator[None]:
        """Receive in this ``with`` block; a worker's mailbox that is not there is no error, but empty."""
        if self.is_pending(queue):
            sleep(PAUSE_SECONDS)
            raise Empty
        try:
            yield
        except FAILURES as exc:
            if self.listeners.get(queue) is None or not self._goes_on(queue, exc):
                raise
            raise Empty from exc

    def _goes_on(self, queue: str, exc: Exception) -> bool:
        """Return whether to wait until a listener's queue is there again."""
        if mailbox.is_reply_queue(queue) and meaning_of(exc) is ABSENT:
            if self.replies.is_new:
                sleep(AGAIN_SECONDS)
                return True
            self.end(queue)
            self.replies.new_id()
        if not mailbox.is_mailbox(queue):
            return False
        warn_once("nothing received for remote control", exc)
        sleep(PAUSE_SECONDS)
        return True

    def expires(self, queue: str) -> bool:
        """Return whether messages that were received from a queue expire without a delete.

        A command in a worker's mailbox comes from a process that will listen to events.
        """
        if mailbox.is_mailbox(queue):
            Audience.expect()
        listener = self.listeners.get(queue)
        return listener is not None and listener.expires

    def end(self, queue: str) -> bool:
        """Remove a listener, and return whether the queue was one. A predefined queue stays."""
        listener = self.listeners.get(queue)
        if listener is None or listener.is_predefined:
            return listener is not None
        self.listeners.pop(queue)
        self.unbind(queue)
        listener.remove()
        return True


def _not_made(queue: str, exc: Exception) -> None:
    if mailbox.is_mailbox(queue):
        warn_once("remote control does not work", exc)
        return
    raise OperationalError(
        f"queue {queue} not created for a listener: AWS answered {code(exc)}; "
        "allow what docs/operate/monitoring.md says, or predefine topics and queues"
    ) from exc

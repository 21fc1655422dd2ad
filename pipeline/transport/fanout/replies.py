"""Replies to remote control, which go to the queue of the process that asked.

That process creates and deletes the queue. A process that replies only looks for it. A new queue may be
absent for a second after its creation, and mostly exists at once. The process that asks does not wait: it
sends the command at once, and a process that does not find the queue looks again until that second is over.
Source: SQS API Reference, CreateQueue: "you must wait at least one second after the queue is created".
"""

import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from kombu.utils.uuid import uuid

from pipeline.transport.fanout import mailbox
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.sqs_errors import ABSENT, FAILURES, meaning_of

CACHED_URLS = 100
"""How many URLs of reply queues are cached."""

NEW_QUEUE_SECONDS = 1.0
"""After this time a new queue can be used."""

AGAIN_SECONDS = 0.1
"""How often a reply queue that is not there is looked for meanwhile."""

REPLY_SECONDS = 0.2
"""How long a reply takes at most, of a worker that found the queue in the last moment."""


class Replies:
    """What one connection knows of reply queues: its own, and those that it has replied to."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._usable = 0.0
        self.new_id()

    def new_id(self) -> None:
        """Rename this connection's own reply queue: SQS blocks the name of a deleted queue for 60 seconds."""
        self.id = uuid()

    def made(self) -> None:
        """Note that this connection's own reply queue was made now."""
        self._usable = monotonic() + NEW_QUEUE_SECONDS

    def arrived(self) -> None:
        """Note that the queue has delivered a reply."""
        self._usable = 0.0

    @property
    def is_new(self) -> bool:
        """Whether this connection's own reply queue may not be there yet."""
        return monotonic() < self._usable

    def timeout_seconds(self, asked: float) -> float:
        """Return how long to wait for the first reply: no less than one takes that had to look again."""
        return max(asked, self._usable + REPLY_SECONDS - monotonic()) if self.is_new else asked

    def url(self, queue: str, sqs_name: str, client: Any) -> str:
        """Return the URL of a reply queue, which is not created here.

        Raises:
            ClientError: it does not exist, or SQS denies access to it.
        """
        if queue not in self._urls:
            if len(self._urls) >= CACHED_URLS:
                self._urls.clear()
            self._urls[queue] = client.get_queue_url(QueueName=sqs_name)["QueueUrl"]
        return self._urls[queue]

    def send(self, queue: str, put: Callable[[], None]) -> None:
        """Send a message to a queue; if it is a reply, without raising.

        A queue that is not there is new, or gone with the process that asked. A thread looks for it again; a
        reply that is not sent for another reason is logged.
        """
        if not mailbox.is_reply_queue(queue):
            put()
        elif not self._is_sent(queue, put):
            again = threading.Thread(target=self._send_again, args=(queue, put), daemon=True)
            again.start()

    def _send_again(self, queue: str, put: Callable[[], None]) -> None:
        over = monotonic() + NEW_QUEUE_SECONDS + AGAIN_SECONDS
        while monotonic() < over:
            sleep(AGAIN_SECONDS)
            if self._is_sent(queue, put):
                return

    def _is_sent(self, queue: str, put: Callable[[], None]) -> bool:
        """Send a reply, and return whether that is over: its queue was there, or it cannot be sent."""
        try:
            put()
        except FAILURES as exc:
            self._urls.pop(queue, None)
            if meaning_of(exc) is ABSENT:
                return False
            warn_once("reply not sent", exc)
        return True

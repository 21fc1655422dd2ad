"""Replies to remote control, which go to the queue of the process that asked.

That process creates and deletes the queue. A process that replies only looks for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.utils.uuid import uuid

from pipeline.transport.fanout import mailbox
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.sqs_errors import ABSENT, FAILURES, meaning_of

CACHED_URLS = 100
"""How many URLs of reply queues are cached."""


class Replies:
    """What one connection knows of reply queues: its own, and those that it has replied to."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self.new_id()

    def new_id(self) -> None:
        """Rename this connection's own reply queue: SQS blocks the name of a deleted queue for 60 seconds."""
        self.id = uuid()

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

    @contextmanager
    def best_effort(self, queue: str) -> Iterator[None]:
        """Send a reply in this ``with`` block without raising; for any other queue, do nothing.

        A reply that is not sent is logged, unless its queue is gone with the process that asked.
        """
        try:
            yield
        except FAILURES as exc:
            if not mailbox.is_reply_queue(queue):
                raise
            self._urls.pop(queue, None)
            if meaning_of(exc) is not ABSENT:
                warn_once("reply not sent", exc)

"""Queues of listeners: each process that receives events, commands or broadcasts has its own while it lives.

SQS has no queues that end with their consumer. A listener therefore deletes its own queue, and while it
lives it writes the time into a tag every two minutes; ``pipeline sweep`` deletes queues whose tag is old.

A listener deletes no messages. Its queue keeps them for a minute and hides received ones for longer, so they
expire by themselves. That halves a listener's calls, and limits what piles up after it died.
Source: SQS API Reference, CreateQueue (MessageRetentionPeriod, VisibilityTimeout), TagQueue.
"""

import atexit
import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any

from botocore.exceptions import ClientError

from pipeline.aws.limits import (
    SQS_RETENTION_LEAST_SECONDS,
    SQS_RETENTION_LIMIT_SECONDS,
    SQS_VISIBILITY_LIMIT_SECONDS,
)
from pipeline.telemetry import log_lines
from pipeline.transport.clients import short_timeout_client
from pipeline.transport.fanout.topics import Topic
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.sqs_errors import ABSENT, FAILURES, code, meaning_of

logger = log_lines.logger(__name__)

RENEW_SECONDS = 120.0
RENEWED, OWNER = "claimcheck-renewed", "claimcheck-owner"
"""Tags: when the listener was last renewed, in seconds since 1970; and Kombu's name of its queue."""


def retention_seconds(message_ttl_seconds: float | None) -> int:
    """Return how long a listener's queue keeps messages."""
    wanted = int(message_ttl_seconds or SQS_RETENTION_LEAST_SECONDS)
    return max(SQS_RETENTION_LEAST_SECONDS, min(wanted, SQS_RETENTION_LIMIT_SECONDS))


@dataclass(eq=False)
class Listener:
    """One queue, from its creation to its deletion."""

    queue: str
    """Kombu's name."""
    new_name: Callable[[], str]
    """Returns a name for SQS: a new one each time, as SQS requires, unless other processes must know it."""
    sqs: Any
    topic: Topic | None
    """The topic that it subscribes to; ``None`` for replies, which are sent to its name."""
    retention_seconds: int
    tags: Mapping[str, str]
    name: str = ""
    url: str = ""
    """Empty until it is created."""
    is_predefined: bool = False
    """Whether an operator has created it: then it is never created, renewed or deleted here."""
    pid: int = field(default_factory=os.getpid)
    _arn: str = ""
    _subscription: str = ""

    @property
    def expires(self) -> bool:
        """Whether received messages expire without a delete."""
        return not self.is_predefined

    def open(self) -> None:
        """Make the queue and subscribe it.

        Raises:
            ClientError, BotoCoreError, OSError: it could not be made, and nothing of it is left.
        """
        name = self.new_name()
        answer = self.sqs.create_queue(QueueName=name, Attributes=self._attributes(), tags=self._tags())
        self.name, url = name, str(answer["QueueUrl"])
        try:
            if self.topic is not None:
                attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
                self._arn = attributes["Attributes"]["QueueArn"]
                self._subscription = self.topic.subscribe(self._arn)
        except FAILURES:
            with suppress(*FAILURES):
                self.sqs.delete_queue(QueueUrl=url)
            raise
        self.url = url

    def renew(self) -> None:
        """Renew the listener's tag, and restore its queue and subscription if they were deleted.

        Raises:
            ClientError, BotoCoreError, OSError: that was not possible now.
        """
        if not self.url:
            self.open()
            return
        try:
            self.sqs.tag_queue(QueueUrl=self.url, Tags={RENEWED: _now()})
        except ClientError as exc:
            if meaning_of(exc) is not ABSENT:
                raise
            self._lost()
            return
        if self.topic is not None:
            self._subscription = self.topic.subscribe(self._arn)

    def _lost(self) -> None:
        self.url = ""
        if self.topic is not None:
            with suppress(*FAILURES):
                self.topic.client.unsubscribe(SubscriptionArn=self._subscription)
        self.open()

    def remove(self) -> None:
        """Unsubscribe and delete the queue. Never raises, and never takes long; the sweep gets what stays."""
        if self.is_predefined or not self.url or self.pid != os.getpid():
            return
        url, self.url = self.url, ""
        try:
            if self.topic is not None and self._subscription:
                short_timeout_client(self.topic.client).unsubscribe(SubscriptionArn=self._subscription)
            short_timeout_client(self.sqs).delete_queue(QueueUrl=url)
        except Exception as exc:  # noqa: BLE001 - also what a channel raises that is closed already
            logger.info("listener's queue not removed", extra={"queue": self.name, "code": code(exc)})

    def _attributes(self) -> dict[str, str]:
        attributes = {
            "MessageRetentionPeriod": str(self.retention_seconds),
            "VisibilityTimeout": str(SQS_VISIBILITY_LIMIT_SECONDS),
            "SqsManagedSseEnabled": "true",
        }
        return attributes if self.topic is None else {**attributes, "Policy": _policy(self.topic.arn)}

    def _tags(self) -> dict[str, str]:
        return {**self.tags, RENEWED: _now(), OWNER: self.queue[:128]}


def _now() -> str:
    return str(int(time()))


def _policy(topic_arn: str) -> str:
    """Return a policy that lets only the topic send. Set at creation, it applies at once."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": "*",  # of the queue that has this policy
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Listeners:
    """The listeners of one connection, by Kombu's name of their queue. Any thread may call it."""

    def __init__(self) -> None:
        self._listeners: dict[str, Listener] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, listener: Listener) -> None:
        """Keep a listener alive from now on."""
        self._listeners[listener.queue] = listener
        self._closed.clear()
        if self._thread is None or not self._thread.is_alive():
            atexit.register(self.close)
            self._thread = threading.Thread(target=self._run, name="claimcheck-listeners", daemon=True)
            self._thread.start()

    def get(self, queue: str) -> Listener | None:
        """Return a listener, or ``None`` if there is none of that queue."""
        return self._listeners.get(queue)

    def pop(self, queue: str) -> Listener | None:
        """Keep it alive no longer."""
        return self._listeners.pop(queue, None)

    def __iter__(self) -> Iterator[Listener]:
        return iter(list(self._listeners.values()))

    def close(self) -> None:
        """Remove every queue. Never raises."""
        atexit.unregister(self.close)
        self._closed.set()
        for listener in self:
            self._listeners.pop(listener.queue, None)
            listener.remove()

    def _run(self) -> None:
        while not self._closed.wait(RENEW_SECONDS * random.uniform(0.9, 1.1)):  # noqa: S311 - no secret
            for listener in self:
                if not listener.is_predefined:
                    self._renew(listener)

    def _renew(self, listener: Listener) -> None:
        try:
            listener.renew()
        except Exception as exc:  # noqa: BLE001 - the thread goes on, and renews it next time
            warn_once("listener's queue not renewed", exc)
        if self._closed.is_set() or self.get(listener.queue) is not listener:
            listener.remove()  # it was removed meanwhile

"""Finds and deletes the queues of listeners (monitors, workers) whose process died.

A running listener writes the time into a tag of its queue every two minutes. SQS does not report when a queue
was last read, and the age of a queue proves nothing: a monitor may run for months. A subscription is removed
together with its queue, or if its queue does not exist.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from time import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from pipeline.aws.limits import SQS_LIST_COUNT
from pipeline.transport.addressing import LISTENER
from pipeline.transport.fanout.listeners import RENEWED
from pipeline.transport.queues import Queues
from pipeline.transport.sqs_errors import ABSENT, code, meaning_of

STALE_SECONDS = 900
"""Age of the tag from which a queue is stale: seven renewals are missing."""

PAGES = {"PageSize": SQS_LIST_COUNT}
"""SQS lists at most a thousand queues, and returns a token for more only if the call sets a page size.
Source: SQS API Reference, ListQueues."""


@dataclass(slots=True)
class SweptListeners:
    """Counts of a sweep of listeners."""

    listeners: int = 0
    """All queues of listeners."""
    stale: int = 0
    """Queues whose tag is old, and subscriptions whose queue does not exist."""
    removed: int = 0
    error: str | None = None
    """AWS's error code; the first error ends this part of the sweep."""


def sweep(queues: Queues, *, do_delete: bool) -> SweptListeners:
    """Count the listeners of the app's account, region and prefix; delete stale ones if ``do_delete``.

    Raises no error of AWS: permission to sweep payloads does not imply permission to list queues.
    """
    swept = SweptListeners()
    if queues.channel.predefined_queues:
        return swept
    try:
        _Sweep(queues.channel, swept, do_delete=do_delete).run()
    except (ClientError, BotoCoreError, ResponseParserError) as exc:  # the last: an answer that is no XML
        swept.error = code(exc)
    return swept


class _Sweep:
    def __init__(self, channel: Any, swept: SweptListeners, *, do_delete: bool) -> None:
        self._sqs = channel.sqs()
        self._sns = channel.fanout.get_client()
        self._prefix = f"{channel.queue_name_prefix}{LISTENER}"
        self._swept = swept
        self._do_delete = do_delete
        self._dead: set[str] = set()
        """ARNs of stale queues."""

    def run(self) -> None:
        topics = set[str]()
        for url in self._urls():
            try:
                topics.update(self._check(url))
            except ClientError as exc:
                if meaning_of(exc) is not ABSENT:  # its listener has just deleted it
                    raise
        for topic in topics:
            try:
                self._unsubscribe(topic)
            except ClientError as exc:
                if meaning_of(exc) is not ABSENT:
                    raise

    def _urls(self) -> Iterator[str]:
        pager = self._sqs.get_paginator("list_queues")
        for page in pager.paginate(QueueNamePrefix=self._prefix, PaginationConfig=PAGES):
            yield from page.get("QueueUrls", ())

    def _check(self, url: str) -> list[str]:
        """Count a queue, delete it if it is stale, and return the topics that its policy allows."""
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "QueueArn"])
        tags = self._sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
        self._swept.listeners += 1
        if RENEWED in tags and float(tags[RENEWED]) < time() - STALE_SECONDS:
            self._dead.add(answer["Attributes"]["QueueArn"])
            self._swept.stale += 1
            if self._do_delete:
                self._sqs.delete_queue(QueueUrl=url)
                self._swept.removed += 1
        return _topics(answer["Attributes"].get("Policy"))

    def _unsubscribe(self, topic: str) -> None:
        pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        for subscription in (each for page in pages for each in page["Subscriptions"]):
            queue = subscription["Endpoint"]
            if queue not in self._dead and not self._is_gone(queue):
                continue
            self._swept.stale += queue not in self._dead
            if self._do_delete:
                self._sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
                self._swept.removed += queue not in self._dead

    def _is_gone(self, arn: str) -> bool:
        """Return whether a listener's queue does not exist. ListQueues may lack a new queue."""
        name = arn.rpartition(":")[2]
        if not name.startswith(self._prefix):
            return False
        try:
            self._sqs.get_queue_url(QueueName=name)
        except ClientError as exc:
            return meaning_of(exc) is ABSENT
        return False


def _topics(policy: str | None) -> list[str]:
    statements = json.loads(policy or "{}").get("Statement", [])
    conditions = (statement.get("Condition", {}).get("ArnEquals", {}) for statement in statements)
    return [condition["aws:SourceArn"] for condition in conditions if "aws:SourceArn" in condition]

"""Listeners' queues whose process died without removing them: found by a tag that is no longer renewed.

A listener that lives writes the time on its queue every two minutes. SQS itself does not say when a queue was
last asked for messages, and its age says nothing: a monitor may run for months. A subscription is given up
when its queue is, or when its queue is gone already.
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
"""Since when nobody must have renewed a queue: seven times in a row."""

PAGES = {"PageSize": SQS_LIST_COUNT}
"""SQS lists a thousand queues, and says that there are more only if the call sets a page size.
Source: SQS API Reference, ListQueues."""


@dataclass(slots=True)
class SweptListeners:
    """What a sweep of listeners has seen, and done so far."""

    listeners: int = 0
    """Queues of listeners, dead or alive."""
    stale: int = 0
    """Those whose process is gone, and subscriptions whose queue is."""
    removed: int = 0
    error: str | None = None
    """AWS's code, if not all could be looked at or removed: the first refusal ends this part of the sweep."""


def sweep(queues: Queues, *, do_delete: bool) -> SweptListeners:
    """Count the listeners of the app's account, region and prefix; remove those that died if ``do_delete``.

    Raises nothing for what AWS answers: who may sweep payloads need not be allowed this.
    """
    swept = SweptListeners()
    if queues.channel.predefined_queues:
        return swept
    try:
        _Sweep(queues.channel, swept, do_delete=do_delete).run()
    except (ClientError, BotoCoreError, ResponseParserError) as exc:  # the last: no XML
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
        """ARNs of queues that nobody listens on."""

    def run(self) -> None:
        topics = set[str]()
        for url in self._urls():
            try:
                topics.update(self._look(url))
            except ClientError as exc:
                if meaning_of(exc) is not ABSENT:  # else its listener has just removed it
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

    def _look(self, url: str) -> list[str]:
        """Count a queue, delete it if it is stale, and return the topics that may send to it."""
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
        """Say whether a listener's queue does not exist. Asks for each: a new one may not be listed yet."""
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

"""SNS topics: one for each fanout exchange, created when it is first needed.

The first message or listener creates a topic by its name: CreateTopic returns an existing one. A deleted
topic is created again, and its listeners subscribe again when they renew themselves.
Source: SNS API Reference, CreateTopic, DeleteTopic, Publish, Subscribe.
"""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from pipeline.transport.sqs_errors import ABSENT, meaning_of


class Topic:
    """One topic. Safe to share between threads.

    Args:
        name: SNS's name of it.
        client: boto3's SNS client.
        arn: of a predefined topic, which is never created here.
    """

    def __init__(self, name: str, client: Any, arn: str = "") -> None:
        self.name = name
        self.client = client
        self._is_predefined = bool(arn)
        self._arn = arn

    @property
    def arn(self) -> str:
        """The topic's ARN; the first time, the topic is made unless it is there."""
        if not self._arn:
            self._arn = str(self.client.create_topic(Name=self.name)["TopicArn"])
        return self._arn

    def publish(self, text: str) -> None:
        """Publish a message to the current subscribers."""
        self._ask(lambda arn: self.client.publish(TopicArn=arn, Message=text))

    def subscribe(self, queue_arn: str) -> str:
        """Let a queue have every message from now on, as it was published; safe to repeat."""
        answer = self._ask(
            lambda arn: self.client.subscribe(
                TopicArn=arn,
                Protocol="sqs",
                Endpoint=queue_arn,
                Attributes={"RawMessageDelivery": "true"},
                ReturnSubscriptionArn=True,
            )
        )
        return str(answer["SubscriptionArn"])

    def has_listeners(self) -> bool:
        """Return whether any queue was subscribed a moment ago."""
        answer = self._ask(lambda arn: self.client.list_subscriptions_by_topic(TopicArn=arn))
        return bool(answer["Subscriptions"])

    def _ask(self, call: Callable[[str], Any]) -> Any:
        try:
            return call(self.arn)
        except ClientError as exc:
            if self._is_predefined or meaning_of(exc) is not ABSENT:
                raise
            self._arn = ""  # it was deleted: create it again, once
            return call(self.arn)

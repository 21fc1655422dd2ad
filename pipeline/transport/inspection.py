"""What a queue is like that is consumed: how long it hides messages, and whether dead letters go anywhere."""

import json
from typing import Any, ClassVar

from pipeline.telemetry import log_lines
from pipeline.transport.addressing import is_passing
from pipeline.transport.sqs_errors import FAILURES, code

logger = log_lines.logger(__name__)


class Inspection:
    """Asks SQS once for each queue of a connection, and changes nothing."""

    _warned: ClassVar[set[str]] = set()

    def __init__(self) -> None:
        self._hidden_seconds: dict[str, int] = {}
        self._max_receive_counts: dict[str, int] = {}

    def look(self, client: Any, name: str, queue_url: str) -> None:
        """Ask for a queue's attributes, and warn once if it has no dead-letter queue. Never raises."""
        if queue_url in self._hidden_seconds:
            return
        try:
            answer = client.get_queue_attributes(
                QueueUrl=queue_url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
            )
        except FAILURES as exc:
            logger.warning("queue not inspected", extra={"queue": name, "code": code(exc)})
            return
        attributes = (answer or {}).get("Attributes") or {}
        if "VisibilityTimeout" in attributes:
            self._hidden_seconds[queue_url] = int(attributes["VisibilityTimeout"])
        if "RedrivePolicy" in attributes:
            policy = json.loads(attributes["RedrivePolicy"])
            self._max_receive_counts[queue_url] = int(policy["maxReceiveCount"])
        elif not is_passing(name, {}):
            self._warn(queue_url)

    def max_receive_count(self, queue_url: str) -> int | None:
        """Return how often a queue shows a message before it is a dead letter; ``None`` if for ever."""
        return self._max_receive_counts.get(queue_url)

    def hidden_seconds(self, queue_url: str, otherwise: int) -> int:
        """Return for how long a queue hides a message that was received.

        Kombu uses its option ``visibility_timeout`` when it makes a queue, and never again: a queue that
        was there may hide messages for less time, or more.
        """
        return self._hidden_seconds.get(queue_url, otherwise)

    def _warn(self, queue_url: str) -> None:
        if queue_url not in self._warned:
            self._warned.add(queue_url)
            logger.warning(
                "queue %s has no redrive policy: what is rejected is deleted. Give it a dead-letter queue",
                queue_url,
            )

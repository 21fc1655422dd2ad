"""Reads the visibility timeout and the redrive policy of the queues that a connection consumes."""

import json
from typing import Any, ClassVar

from pipeline.telemetry import log_lines
from pipeline.transport.addressing import is_temporary
from pipeline.transport.sqs_errors import FAILURES, code

logger = log_lines.logger(__name__)


class Inspection:
    """Attributes of queues, read once for each queue of a connection."""

    _warned: ClassVar[set[str]] = set()

    def __init__(self) -> None:
        self._hidden_seconds: dict[str, int] = {}
        self._max_receive_counts: dict[str, int] = {}

    def read(self, client: Any, name: str, queue_url: str) -> None:
        """Read a queue's attributes, and warn once if it has no dead-letter queue. Never raises."""
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
        elif not is_temporary(name, {}):
            self._warn(queue_url)

    def max_receive_count(self, queue_url: str) -> int | None:
        """Return a queue's maxReceiveCount; ``None`` if it has no dead-letter queue."""
        return self._max_receive_counts.get(queue_url)

    def hidden_seconds(self, queue_url: str, otherwise: int) -> int:
        """Return a queue's visibility timeout.

        Kombu applies its option ``visibility_timeout`` only when it creates a queue. A queue that existed may
        have a shorter or a longer one.
        """
        return self._hidden_seconds.get(queue_url, otherwise)

    def _warn(self, queue_url: str) -> None:
        if queue_url not in self._warned:
            self._warned.add(queue_url)
            logger.warning(
                "queue %s has no redrive policy: what is rejected is deleted. Give it a dead-letter queue",
                queue_url,
            )

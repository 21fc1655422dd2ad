"""Receives messages without ending the worker when SQS cannot be reached.

Kombu's own connection turns a server error or a lost connection into an empty *list*, which its channel asks
for ``get``, and any other refusal into a plain ``Exception``. Both leave the event loop: "Unrecoverable
error", and the worker ends, with every task that runs in it.
Source: kombu 5.7.0, ``asynchronous/aws/connection.py`` (``_on_list_ready``), ``transport/SQS/__init__.py``
(``_on_messages_ready``); seen on a worker whose connections were refused.
"""

import logging
import random
from collections.abc import Mapping
from typing import Any

from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
PAUSE_LIMIT_SECONDS = 10.0
"""First and longest pause between two attempts to receive while SQS does not answer."""


class Receiver(AsyncSQSConnection):
    """Kombu's asynchronous connection to SQS, where no answer means no messages. Used by the event loop."""

    def __init__(self, connection: AsyncSQSConnection, region: str) -> None:
        super().__init__(
            sqs_connection=connection.sqs_connection,
            region=region,
            message_system_attribute_names=connection.message_system_attribute_names,
            message_attribute_names=connection.message_attribute_names,
        )
        self._failures = 0

    @property
    def pause_seconds(self) -> float:
        """How long to wait before asking again: 0 after an answer, longer with each failure after it."""
        if not self._failures:
            return 0.0
        longest = min(PAUSE_SECONDS * 2 ** min(self._failures, 10), PAUSE_LIMIT_SECONDS)
        return random.uniform(longest / 2, longest)  # noqa: S311 - no secret

    def _on_list_ready(self, parent: Any, markers: Any, operation: str, response: Any) -> Mapping[str, Any]:
        try:
            answer = super()._on_list_ready(parent, markers, operation, response)
        except Exception as exc:  # noqa: BLE001 - Kombu raises nothing more precise
            answer = exc
        if isinstance(answer, Mapping):
            self._failures = 0
            return answer
        self._failures += 1
        logger.warning(
            "nothing received: SQS answered %s, attempt %d",
            response.status,
            self._failures,
            extra={"queue": parent, "status": response.status, "attempt": self._failures},
        )
        return {}

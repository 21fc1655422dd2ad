"""Asks SQS for messages, and asks again after a pause when SQS or the network fails.

Kombu's own connection turns a server error or a lost connection into an empty *list*, which its channel asks
for ``get``, and any other error into a plain ``Exception``. Both leave the event loop: "Unrecoverable
error", and the worker ends, with every task that runs in it. Without an event loop, as with gevent and
eventlet, an error of SQS ends the worker too.
Source: kombu 5.7.0, ``asynchronous/aws/connection.py`` (``_on_list_ready``), ``transport/SQS/__init__.py``
(``_on_messages_ready``, ``_get_bulk``); seen on workers whose requests SQS denied.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty
from time import sleep
from typing import Any

from botocore.exceptions import ClientError
from kombu.asynchronous.aws.sqs.connection import AsyncSQSConnection

from pipeline.aws.credentials import renew
from pipeline.aws.error_codes import CREDENTIALS_CODES
from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.telemetry import log_lines
from pipeline.transport.sqs_errors import ABSENT, code, meaning_of

logger = log_lines.logger(__name__)

PAUSE_SECONDS = 0.2
PAUSE_LIMIT_SECONDS = 10.0
"""First and longest pause between two attempts to receive while SQS does not answer."""


class NotReceivedError(Empty):
    """SQS answered ReceiveMessage with an error. Kombu treats the queue as empty, and asks the next one."""

    def __init__(self, error: ClientError) -> None:
        super().__init__(code(error))
        self.error = error


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Raise what SQS answers as :class:`NotReceivedError`, unless the queue does not exist."""
    try:
        yield
    except ClientError as exc:
        if meaning_of(exc) is ABSENT:
            raise
        raise NotReceivedError(exc) from exc


def batch_count(queue: str, wanted: int) -> int:
    """Return how many messages to ask for: one of a FIFO queue, else as many as wanted.

    SQS delivers no message of a message group while another one of it is in flight, except for those of the
    same answer. With one message an answer, SQS keeps the order: the next one of a group follows when this
    one is deleted or visible again, on any worker. Source: SQS Developer Guide, "FIFO queue delivery logic".
    """
    return 1 if queue.endswith(SQS_FIFO_SUFFIX) else wanted


class ReceiveFailures:
    """Counts the failed requests for messages in a row, by queue."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, queue: str, status: object, what: str) -> None:
        """Count a failure and log it."""
        attempt = self._counts[queue] = self._counts.get(queue, 0) + 1
        fields = {"queue": queue, "status": status, "attempt": attempt}
        logger.warning("nothing received: %s, attempt %d", what, attempt, extra=fields)

    def clear(self, queue: str) -> None:
        """Note that SQS has answered."""
        self._counts.pop(queue, None)

    def pause_seconds(self, queue: str) -> float:
        """Return the pause before the next request: 0 after an answer, longer with each failure after it."""
        if queue not in self._counts:
            return 0.0
        longest = min(PAUSE_SECONDS * 2 ** min(self._counts[queue], 10), PAUSE_LIMIT_SECONDS)
        return random.uniform(longest / 2, longest)  # noqa: S311 - no secret

    @contextmanager
    def pausing(self, queue: str, timeout_seconds: float | None) -> Iterator[None]:
        """Count and log a failure in this ``with`` block, and pause for at most the timeout."""
        try:
            yield
        except NotReceivedError as exc:
            self.add(queue, code(exc.error), f"SQS answered {code(exc.error)}")
            pause = self.pause_seconds(queue)
            sleep(pause if timeout_seconds is None else min(pause, timeout_seconds))
            raise


class Receiver(AsyncSQSConnection):
    """Kombu's asynchronous connection to SQS, where no answer means no messages. Used by the event loop.

    Args:
        connection: Kombu's, whose settings it takes.
        hub: the event loop.
        failures: where failed requests are counted.
        must_read: says whether an answer from a queue, by SQS's name, is read before the event loop closes.
    """

    def __init__(
        self,
        connection: AsyncSQSConnection,
        hub: Any,
        failures: ReceiveFailures,
        must_read: Callable[[str], bool],
    ) -> None:
        # To load libcurl takes 25 ms of CPU: producers, commands and pools without an event loop need none.
        from pipeline.transport.receive import curl  # noqa: PLC0415

        super().__init__(
            sqs_connection=connection.sqs_connection,
            http_client=curl.Client.of(hub),
            message_system_attribute_names=connection.message_system_attribute_names,
            message_attribute_names=connection.message_attribute_names,
        )
        self._failures = failures
        self._must_read = must_read
        self._asked: tuple[str, int] = "", 0
        self._new_connection = curl.Connection

    def receive_message(
        self, queue: str, *args: Any, wait_time_seconds: int | None = None, **options: Any
    ) -> Any:
        """Ask for messages, and wait for the answer a little longer than SQS waits for messages."""
        self._asked = queue, wait_time_seconds or 0
        options["wait_time_seconds"] = wait_time_seconds
        return super().receive_message(queue, *args, **options)

    def get_http_connection(self) -> Any:
        """Return what one request is made with."""
        queue, wait_seconds = self._asked
        return self._new_connection(wait_seconds, lambda: self._must_read(queue), self._httpclient)

    def _on_list_ready(self, parent: Any, markers: Any, operation: str, response: Any) -> Mapping[str, Any]:
        try:
            answer = super()._on_list_ready(parent, markers, operation, response)
        except Exception as exc:  # noqa: BLE001 - Kombu raises nothing more precise
            answer = exc
        if isinstance(answer, Mapping):
            self._failures.clear(parent)
            return answer
        error_code = _code_of(response)
        if error_code in CREDENTIALS_CODES:
            renew(self.sqs_connection)
        self._failures.add(parent, response.status, f"SQS answered {error_code or response.status}")
        return {}


def _code_of(response: Any) -> str:
    """Return SQS's error code, which Kombu does not read; an empty text if there is none."""
    try:
        answer = json.loads(response.read())
    except (TypeError, ValueError):
        return ""
    return str(answer.get("__type", "")).rpartition("#")[2] if isinstance(answer, dict) else ""

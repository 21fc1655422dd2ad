"""Messages of a dead-letter queue: looked at without loss, sent on as they are."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pipeline.queues import Queue, QueueError, asked

BATCH_COUNT = 10
"""Most messages of one call. Source: SQS API Reference, ReceiveMessage."""

HOLD_SECONDS = 120
"""How long a message that is being looked at stays invisible; it is given back at once when we are done."""

WAIT_SECONDS = 1
"""How long SQS looks for messages: with none of it, only on some of its servers."""

_EMPTY_ANSWERS = 2
"""SQS asks only some of its servers at a time: one empty answer is no proof."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as SQS handed it out."""

    message_id: str
    receipt_handle: str
    body: str = field(repr=False)
    attributes: Mapping[str, str]
    """SQS's own, such as ``SentTimestamp``."""
    message_attributes: Mapping[str, Any]
    """The sender's."""


class Holding:
    """The messages of a queue that we keep from everybody else for a while."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._handles: dict[str, str] = {}
        self._deleted: set[str] = set()

    def __iter__(self) -> Iterator[Received]:
        """Yield messages, each once, until SQS shows no new ones."""
        fruitless = 0
        while fruitless < _EMPTY_ANSWERS:
            batch = [message for message in self._receive() if message.message_id not in self._deleted]
            new = [message for message in batch if message.message_id not in self._handles]
            fruitless = 0 if new else fruitless + 1
            self._handles.update((message.message_id, message.receipt_handle) for message in batch)
            yield from new

    def delete(self, message_id: str) -> None:
        """Delete a message that was yielded.

        Raises:
            QueueError: SQS has not confirmed it: the message may come again.
        """
        with asked(self._queue.name, "DeleteMessage"):
            self._queue.client.delete_message(
                QueueUrl=self._queue.url, ReceiptHandle=self._handles[message_id]
            )
        del self._handles[message_id]
        self._deleted.add(message_id)

    def give_back(self) -> None:
        """Make visible again what was not deleted; never raises, as time does the same."""
        handles, self._handles = list(self._handles.values()), {}
        for start in range(0, len(handles), BATCH_COUNT):
            entries = [
                {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                for number, handle in enumerate(handles[start : start + BATCH_COUNT])
            ]
            with suppress(QueueError), asked(self._queue.name, "ChangeMessageVisibility"):
                self._queue.client.change_message_visibility_batch(QueueUrl=self._queue.url, Entries=entries)

    def _receive(self) -> list[Received]:
        with asked(self._queue.name, "ReceiveMessage"):
            answer = self._queue.client.receive_message(
                QueueUrl=self._queue.url,
                MaxNumberOfMessages=BATCH_COUNT,
                VisibilityTimeout=HOLD_SECONDS,
                WaitTimeSeconds=WAIT_SECONDS,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        return [_received(found) for found in answer.get("Messages", ())]


@contextmanager
def held(queue: Queue) -> Iterator[Holding]:
    """Hold messages for the length of a ``with`` block, and give back what was not deleted.

    Receiving counts: ``ApproximateReceiveCount`` goes up. That is harmless in a dead-letter queue, and moves
    messages out of any other; so never use it on those.
    """
    holding = Holding(queue)
    try:
        yield holding
    finally:
        holding.give_back()


def _received(found: Mapping[str, Any]) -> Received:
    return Received(
        found["MessageId"],
        found["ReceiptHandle"],
        found["Body"],
        found.get("Attributes", {}),
        found.get("MessageAttributes", {}),
    )


def send(queue: Queue, message: Received) -> None:
    """Send a message as it is: body, attributes, group and deduplication id.

    Raises:
        QueueError: SQS has not confirmed it; it may be there all the same.
    """
    kept = {name: message.attributes.get(name) for name in ("MessageGroupId", "MessageDeduplicationId")}
    options: dict[str, Any] = {name: value for name, value in kept.items() if value}
    if trace := message.attributes.get("AWSTraceHeader"):
        options["MessageSystemAttributes"] = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    with asked(queue.name, "SendMessage"):
        queue.client.send_message(
            QueueUrl=queue.url,
            MessageBody=message.body,
            MessageAttributes=dict(message.message_attributes),
            **options,
        )

"""Messages received from a dead-letter queue: read and sent on without loss."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from time import monotonic
from typing import Any

from botocore import xform_name

from pipeline.aws.limits import SQS_BATCH_COUNT
from pipeline.transport.queues import Queue, QueueError, asked

VISIBILITY_TIMEOUT_SECONDS = 120
"""Visibility timeout of a received message. It is extended when half of it is over, and set to 0 at the
end."""

MARGIN_SECONDS = 5
"""A message whose visibility timeout ends sooner is neither deleted nor sent on."""

TIMEOUT_PASSED = "its visibility timeout passed: run the command again"
"""Reason to keep a message that another consumer may have received meanwhile."""

WAIT_SECONDS = 1
"""Long polling. With 0, SQS asks only a subset of its servers. Source: SQS Developer Guide, "Amazon SQS short
and long polling"."""

_EMPTY_ANSWERS = 2
"""Empty answers in a row that end the reading: one of them does not prove that the queue is empty."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message as SQS returned it."""

    message_id: str
    receipt_handle: str
    body: str = field(repr=False)
    attributes: Mapping[str, str]
    """SQS's own, such as ``SentTimestamp``."""
    message_attributes: Mapping[str, Any]
    """The sender's."""


@dataclass(frozen=True, slots=True)
class _Receipt:
    handle: str
    expires: float
    """End of the visibility timeout on the monotonic clock. It is counted from the request, so SQS ends it
    later."""


class MessagesInFlight:
    """The messages of one queue that this process has received and not deleted.

    A message whose visibility timeout has passed may belong to another consumer, and SQS still accepts its
    old receipt handle. So it is neither deleted nor sent on.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._receipts: dict[str, _Receipt] = {}
        self._by_expiry: deque[str] = deque()
        """Message ids in the order in which their visibility timeouts end. A failed extension removes the
        id."""
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[Received]:
        """Receive messages and yield each once, until SQS returns no new ones."""
        empty_answers = 0
        while empty_answers < _EMPTY_ANSWERS:
            self._extend()
            new = [message for message in self._receive() if message.message_id not in self._seen]
            empty_answers = 0 if new else empty_answers + 1
            self._seen.update(message.message_id for message in new)
            yield from new

    def contains(self, message_id: str) -> bool:
        """Return whether a message stays in flight for long enough to act on it."""
        return self._seconds_left(message_id) > MARGIN_SECONDS

    def delete(self, message_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Delete received messages, and yield for each why it may still exist; empty if it is deleted.

        Raises:
            QueueError: SQS denied the call or did not answer; messages not yielded yet may be redelivered.
        """
        for batch in _batches(message_ids):
            self._extend()
            yield from self._delete(batch)

    def make_visible(self) -> None:
        """Set the visibility timeout of all messages in flight to 0. Never raises: it ends by itself, too."""
        in_flight = [each for each in self._receipts if self._seconds_left(each) > 0]
        with suppress(QueueError):
            for batch in _batches(in_flight):
                self._call("ChangeMessageVisibility", batch, VisibilityTimeout=0)
        self._receipts.clear()

    def _receive(self) -> list[Received]:
        since = monotonic()
        with asked(self._queue.name, "ReceiveMessage"):
            answer = self._queue.client.receive_message(
                QueueUrl=self._queue.url,
                MaxNumberOfMessages=SQS_BATCH_COUNT,
                VisibilityTimeout=VISIBILITY_TIMEOUT_SECONDS,
                WaitTimeSeconds=WAIT_SECONDS,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        received = [_received(found) for found in answer.get("Messages", ())]
        for message in received:
            self._note(message.message_id, message.receipt_handle, since)
        return received

    def _note(self, message_id: str, receipt_handle: str, since: float) -> None:
        self._receipts[message_id] = _Receipt(receipt_handle, since + VISIBILITY_TIMEOUT_SECONDS)
        self._by_expiry.append(message_id)

    def _seconds_left(self, message_id: str) -> float:
        receipt = self._receipts.get(message_id)
        return receipt.expires - monotonic() if receipt else 0.0

    def _is_due(self, message_id: str) -> bool:
        return self._seconds_left(message_id) < VISIBILITY_TIMEOUT_SECONDS / 2

    def _extend(self) -> None:
        """Extend the visibility timeouts of which half is over."""
        due = list(takewhile(self._is_due, self._by_expiry))
        for _ in due:
            self._by_expiry.popleft()
        for batch in _batches(due):
            with suppress(QueueError):  # these messages stay in flight until their timeout ends
                self._renew([each for each in dict.fromkeys(batch) if self.contains(each)])

    def _renew(self, message_ids: Sequence[str]) -> None:
        since = monotonic()
        timeout = VISIBILITY_TIMEOUT_SECONDS
        codes = self._call("ChangeMessageVisibility", message_ids, VisibilityTimeout=timeout)
        for each in (each for each, code in codes.items() if not code):
            self._note(each, self._receipts[each].handle, since)

    def _delete(self, message_ids: Sequence[str]) -> list[tuple[str, str]]:
        codes = self._call("DeleteMessage", [each for each in message_ids if self.contains(each)])
        return [(each, self._why_kept(each, codes.get(each))) for each in message_ids]

    def _why_kept(self, message_id: str, code: str | None) -> str:
        """Return why a message may still exist, by SQS's code for its delete; None: no delete was sent."""
        if code:
            return f"SQS did not delete it: {code}"
        if code is None or self._seconds_left(message_id) <= 0:
            return TIMEOUT_PASSED
        del self._receipts[message_id]
        return ""

    def _call(self, call: str, message_ids: Sequence[str], **options: Any) -> dict[str, str]:
        """Call SQS for one batch, and return its error code for each message; empty for success."""
        if not message_ids:
            return {}
        numbered = {str(number): each for number, each in enumerate(message_ids)}
        entries = [
            {"Id": number, "ReceiptHandle": self._receipts[each].handle, **options}
            for number, each in numbered.items()
        ]
        with asked(self._queue.name, call):
            act = getattr(self._queue.client, xform_name(f"{call}Batch"))
            answer = act(QueueUrl=self._queue.url, Entries=entries)
        codes = {each["Id"]: each["Code"] for each in answer.get("Failed", ())}
        codes |= {each["Id"]: "" for each in answer.get("Successful", ())}
        return {each: codes.get(number, "no answer") for number, each in numbered.items()}


def _batches(message_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    starts = range(0, len(message_ids), SQS_BATCH_COUNT)
    return (message_ids[start : start + SQS_BATCH_COUNT] for start in starts)


@contextmanager
def receiving(queue: Queue) -> Iterator[MessagesInFlight]:
    """Receive messages in a ``with`` block, and make those visible again at its end that were not deleted.

    For dead-letter queues only: each receive raises ``ApproximateReceiveCount``, which would move the
    messages of any other queue to its dead-letter queue.
    """
    in_flight = MessagesInFlight(queue)
    try:
        yield in_flight
    finally:
        in_flight.make_visible()


def _received(found: Mapping[str, Any]) -> Received:
    return Received(
        found["MessageId"],
        found["ReceiptHandle"],
        found["Body"],
        found.get("Attributes", {}),
        found.get("MessageAttributes", {}),
    )


def send(queue: Queue, message: Received) -> None:
    """Send a message unchanged: body, attributes, group and deduplication id.

    Raises:
        QueueError: SQS did not confirm the message; the queue may have it all the same.
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

"""Messages of a dead-letter queue: looked at without loss, sent on as they are."""

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

HOLD_SECONDS = 120
"""How long a message that is being looked at stays invisible, and again whenever half of that is over; it is
given back at once when we are done."""

MARGIN_SECONDS = 5
"""Nothing is begun with a message that is ours for no longer."""

TOO_LONG = "held for too long: run it again"
"""Why a message stays that SQS may have shown to somebody else meanwhile."""

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


@dataclass(frozen=True, slots=True)
class _Hold:
    receipt_handle: str
    ends: float
    """On the monotonic clock. SQS counts from its answer, so for SQS it ends a little later."""


class Holding:
    """The messages of a queue that we keep from everybody else for a while.

    A hold that is over is taken for lost: whoever received the message meanwhile may do with it what they
    like, and SQS says yes to an old receipt handle all the same.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._holds: dict[str, _Hold] = {}
        self._turns: deque[str] = deque()
        """Messages in the order in which their holds end. What SQS did not extend has no turn any more."""
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[Received]:
        """Yield messages, each once, until SQS shows no new ones."""
        fruitless = 0
        while fruitless < _EMPTY_ANSWERS:
            self._extend()
            new = [message for message in self._receive() if message.message_id not in self._seen]
            fruitless = 0 if new else fruitless + 1
            self._seen.update(message.message_id for message in new)
            yield from new

    def has(self, message_id: str) -> bool:
        """Say whether a message is ours for long enough to do something with it."""
        return self._left(message_id) > MARGIN_SECONDS

    def delete(self, message_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Delete messages that were yielded, and say of each why it is not certainly gone; empty if it is.

        Raises:
            QueueError: SQS denied the call or did not answer; messages not yielded yet may be redelivered.
        """
        for ten in _tens(message_ids):
            self._extend()
            yield from self._delete(ten)

    def give_back(self) -> None:
        """Make visible again what is still ours; never raises, as time does the same."""
        ours = [each for each in self._holds if self._left(each) > 0]
        with suppress(QueueError):
            for ten in _tens(ours):
                self._ask("ChangeMessageVisibility", ten, VisibilityTimeout=0)
        self._holds.clear()

    def _receive(self) -> list[Received]:
        since = monotonic()
        with asked(self._queue.name, "ReceiveMessage"):
            answer = self._queue.client.receive_message(
                QueueUrl=self._queue.url,
                MaxNumberOfMessages=SQS_BATCH_COUNT,
                VisibilityTimeout=HOLD_SECONDS,
                WaitTimeSeconds=WAIT_SECONDS,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        received = [_received(found) for found in answer.get("Messages", ())]
        for message in received:
            self._hold(message.message_id, message.receipt_handle, since)
        return received

    def _hold(self, message_id: str, receipt_handle: str, since: float) -> None:
        self._holds[message_id] = _Hold(receipt_handle, since + HOLD_SECONDS)
        self._turns.append(message_id)

    def _left(self, message_id: str) -> float:
        """Return for how many seconds a message is ours."""
        hold = self._holds.get(message_id)
        return hold.ends - monotonic() if hold else 0.0

    def _extend(self) -> None:
        """Extend the holds of which half is over."""
        due = list(takewhile(lambda each: self._left(each) < HOLD_SECONDS / 2, self._turns))
        for _ in due:
            self._turns.popleft()
        for ten in _tens(due):
            with suppress(QueueError):  # then they are ours until their time is over
                self._renew([each for each in dict.fromkeys(ten) if self.has(each)])

    def _renew(self, message_ids: Sequence[str]) -> None:
        since = monotonic()
        codes = self._ask("ChangeMessageVisibility", message_ids, VisibilityTimeout=HOLD_SECONDS)
        for each in (each for each, code in codes.items() if not code):
            self._hold(each, self._holds[each].receipt_handle, since)

    def _delete(self, message_ids: Sequence[str]) -> list[tuple[str, str]]:
        codes = self._ask("DeleteMessage", [each for each in message_ids if self.has(each)])
        return [(each, self._why(each, codes.get(each))) for each in message_ids]

    def _why(self, message_id: str, code: str | None) -> str:
        """Return why a message is not certainly gone, by SQS's code: None if it was not asked at all."""
        if code:
            return f"SQS did not delete it: {code}"
        if code is None or self._left(message_id) <= 0:
            return TOO_LONG
        del self._holds[message_id]
        return ""

    def _ask(self, call: str, message_ids: Sequence[str], **options: Any) -> dict[str, str]:
        """Ask for ten messages at most, and return SQS's code for each; empty where it is done."""
        if not message_ids:
            return {}
        numbered = {str(number): each for number, each in enumerate(message_ids)}
        entries = [
            {"Id": number, "ReceiptHandle": self._holds[each].receipt_handle, **options}
            for number, each in numbered.items()
        ]
        with asked(self._queue.name, call):
            act = getattr(self._queue.client, xform_name(f"{call}Batch"))
            answer = act(QueueUrl=self._queue.url, Entries=entries)
        codes = {each["Id"]: each["Code"] for each in answer.get("Failed", ())}
        codes |= {each["Id"]: "" for each in answer.get("Successful", ())}
        return {each: codes.get(number, "no answer") for number, each in numbered.items()}


def _tens(message_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    starts = range(0, len(message_ids), SQS_BATCH_COUNT)
    return (message_ids[start : start + SQS_BATCH_COUNT] for start in starts)


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

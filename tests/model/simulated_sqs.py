"""One queue of SQS with its dead-letter queue, as far as messages, receipt handles and time go.

Source: SQS Developer Guide, "Amazon SQS visibility timeout" and "Amazon SQS dead-letter queues"; SQS API
Reference, DeleteMessage: with an old receipt handle "the request succeeds, but the message might not be
deleted". An answer to ReceiveMessage may be lost here, and never comes late: a delivery counts from then.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError
from stepping import Clock, Fault, pause

URL = "https://sqs/queue"
VISIBILITY_SECONDS = 30
MAX_RECEIVE_COUNT = 3
RETENTION_SECONDS = 4 * 86_400
DEAD_RETENTION_SECONDS = 14 * 86_400
HIDDEN_LIMIT_SECONDS = 43_200
DELAY_SECONDS = 5
"""Delay of a message that hops."""


@dataclass(eq=False)
class Stored:
    """One message in the queue, or in its dead-letter queue."""

    body: str
    about: Any
    """What the model knows of it."""
    sent: float
    visible: float
    receives: int = 0
    first_received: float = 0.0
    handle: str = ""
    is_dead: bool = False
    redriven: bool = False


@dataclass(eq=False)
class SQS:
    """Stands where boto3's client stands. ``on_delete`` sees each message that goes."""

    clock: Clock
    on_delete: Callable[[Stored], None]
    on_expiry: Callable[[Stored], None]
    messages: list[Stored] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _known: dict[str, Stored] = field(default_factory=dict)
    # Kombu's SQS channel and our short-timeout clients read them; there are no credentials to copy.
    _request_signer: Any = field(default_factory=lambda: SimpleNamespace(_credentials=None))

    def send(self, body: str, about: Any) -> Fault:
        """Take a message, and return the answer that the sender gets."""
        fault = pause("SendMessage")
        if fault in {Fault.NONE, Fault.UNANSWERED, Fault.PARTLY}:
            self.messages.append(Stored(body, about, self.clock(), self.clock()))
            about.gone = False
            return Fault.UNANSWERED if fault is Fault.UNANSWERED else Fault.NONE
        return fault

    def has_live(self) -> bool:
        """Whether the queue holds anything."""
        return any(not each.is_dead for each in self.messages)

    def has_visible(self) -> bool:
        """Whether there is anything to receive now."""
        return any(not each.is_dead and each.visible <= self.clock() for each in self.messages)

    def expire(self) -> None:
        """Forget what is older than its queue keeps messages."""
        for each in list(self.messages):
            kept = DEAD_RETENTION_SECONDS if each.is_dead else RETENTION_SECONDS
            if self.clock() - each.sent >= kept:
                self.messages.remove(each)
                self.on_expiry(each)

    def redrive(self, message: Stored) -> None:
        """Move a dead letter back, once, as an operator may; its time in the queue begins anew."""
        message.is_dead, message.redriven, message.receives = False, True, 0
        message.sent = message.visible = self.clock()

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        """Answer the channel's first call."""
        policy = json.dumps({"maxReceiveCount": MAX_RECEIVE_COUNT})
        return {"Attributes": {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": policy}}

    def receive_message(self, *, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Show what is visible; what was shown too often moves to the dead-letter queue."""
        fault = pause("ReceiveMessage")
        if fault in {Fault.LOST, Fault.BUSY, Fault.DENIED}:
            raise self._error(fault)
        shown = [self._show(each) for each in self._visible()[:MaxNumberOfMessages]]
        if fault is Fault.UNANSWERED:
            raise self._error(fault)
        return {"Messages": shown}

    def _visible(self) -> list[Stored]:
        now = self.clock()
        due = [each for each in self.messages if not each.is_dead and each.visible <= now]
        for each in due:
            each.is_dead = each.receives >= MAX_RECEIVE_COUNT
        return [each for each in due if not each.is_dead]

    def _show(self, message: Stored) -> dict[str, Any]:
        message.receives += 1
        message.first_received = self.clock()
        message.visible = self.clock() + VISIBILITY_SECONDS
        message.handle = f"handle-{next(self._numbers)}"
        self._known[message.handle] = message
        return {
            "MessageId": str(self.messages.index(message)),
            "ReceiptHandle": message.handle,
            "Body": message.body,
            "Attributes": {"ApproximateReceiveCount": str(message.receives)},
        }

    def send_message(self, *, MessageBody: str, About: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Take a message that hops."""
        with self._call("SendMessage"):
            self._take(MessageBody, About)
        return {}

    def send_message_batch(self, *, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        """Take messages that hop; some may fail."""
        return self._batch(
            "SendMessageBatch", Entries, lambda each: self._take(each["MessageBody"], each["About"])
        )

    def _take(self, body: str, about: Any) -> str:
        self.messages.append(Stored(body, about, self.clock(), self.clock() + DELAY_SECONDS))
        about.gone, about.before.hopped = False, True
        return ""

    def delete_message(self, *, ReceiptHandle: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Delete a message, if the handle is its last."""
        with self._call("DeleteMessage"):
            self._delete(ReceiptHandle)
        return {}

    def delete_message_batch(self, *, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        """Delete messages; some may fail."""
        return self._batch("DeleteMessageBatch", Entries, lambda each: self._delete(each["ReceiptHandle"]))

    def change_message_visibility(
        self, *, ReceiptHandle: str, VisibilityTimeout: int, **_: Any  # noqa: N803
    ) -> dict[str, Any]:  # fmt: skip
        """Hide a message for so long from now on."""
        with self._call("ChangeMessageVisibility"):
            if code := self._hide(ReceiptHandle, VisibilityTimeout):
                raise ClientError({"Error": {"Code": code}}, "ChangeMessageVisibility")
        return {}

    def change_message_visibility_batch(self, *, Entries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        """Hide messages for so long from now on; some may fail."""
        return self._batch(
            "ChangeMessageVisibilityBatch",
            Entries,
            lambda each: self._hide(each["ReceiptHandle"], each["VisibilityTimeout"]),
        )

    def _delete(self, handle: str) -> str:
        message = self._known[handle]
        if message in self.messages and message.handle == handle and not message.is_dead:
            self.messages.remove(message)
            self.on_delete(message)
        return ""

    def _hide(self, handle: str, seconds: int) -> str:
        message, now = self._known[handle], self.clock()
        if message not in self.messages or message.handle != handle:
            return "InvalidParameterValue"
        if message.is_dead or message.visible <= now:
            return "MessageNotInflight"
        if now + seconds - message.first_received > HIDDEN_LIMIT_SECONDS:
            return "InvalidParameterValue"
        message.visible = now + seconds
        return ""

    def _batch(
        self, name: str, entries: list[dict[str, Any]], act: Callable[[dict[str, Any]], str]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        with self._call(name) as fault:
            for place, each in enumerate(entries):
                raises = fault is Fault.PARTLY and place == 0
                code = "InternalError" if raises else act(each)
                said = {"Id": each["Id"], "Code": code} if code else {"Id": each["Id"]}
                answer["Failed" if code else "Successful"].append(said)
        return answer

    @contextmanager
    def _call(self, name: str) -> Iterator[Fault]:
        """Stop before a call and after it: both the request and its answer may take their time."""
        fault = pause(f"{name} is sent")
        if fault in {Fault.LOST, Fault.BUSY, Fault.DENIED}:
            raise self._error(fault)
        yield fault
        pause(f"{name} is answered")
        if fault is Fault.UNANSWERED:
            raise self._error(fault)

    @staticmethod
    def _error(fault: Fault) -> Exception:
        if fault is Fault.BUSY:
            return ClientError({"Error": {"Code": "ServiceUnavailable"}}, "any")
        if fault is Fault.DENIED:
            return ClientError({"Error": {"Code": "AccessDenied"}}, "any")
        return EndpointConnectionError(endpoint_url=URL)

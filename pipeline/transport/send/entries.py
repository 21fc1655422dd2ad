"""One message of a batch, and what SQS answers about it: sent, failed, failed for now, or nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import Any, Protocol

from botocore.exceptions import ParamValidationError

from pipeline.aws.limits import SQS_FIFO_SUFFIX
from pipeline.claimcheck.message_size import attributes_bytes
from pipeline.claimcheck.packs.upload import Upload
from pipeline.transport.errors import certainly_not_sent
from pipeline.transport.send import failures, lingering
from pipeline.transport.send.failures import Failure
from pipeline.transport.sqs_errors import FAILURES, TOO_LONG, meaning_of_code


class Publication(Protocol):
    """What is published, as far as it is known here; whoever publishes gets it back if it is not sent."""

    @property
    def task_id(self) -> str:
        """Return the task's id."""

    @property
    def queue(self) -> str:
        """Return the name of its queue."""

    @property
    def upload(self) -> Upload | None:
        """Return the upload of its payload, if a thread stores that."""

    def share(self, queues_count: int) -> bool:
        """Prepare the payload for several queues, and say whether each queue's end will count."""


@dataclass(eq=False)
class Parcel:
    """The messages of one publication: more than one if its exchange leads to several queues."""

    publication: Publication
    keep: "Callable[[Entry], None] | None" = None
    """What collects each of them; without it, they are sent at once."""
    entries: list["Entry"] = field(default_factory=list)
    """Those that were collected."""
    is_sent: bool = False
    """Whether the broker has confirmed one that was sent at once: its payload is in use from then on."""
    is_unclear: bool = False
    """Whether an earlier try to send one may have arrived: Celery and Kombu try again."""

    def add(self, client: Any, options: dict[str, Any]) -> None:
        """Add what SendMessage would be called with, and the boto3 client that it would be called on."""
        entry = Entry(self, client, options)
        self.entries.append(entry)
        if self.keep is not None:
            self.keep(entry)

    def store_first(self) -> None:
        """Wait for the payload of a message that is not collected, but sent at once to all listeners.

        Raises:
            PipelineError: it was not stored.
        """
        if (upload := self.publication.upload) is not None:
            upload.wait()
            self.is_unclear = True

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Note whether the message that is sent in this block has arrived."""
        try:
            yield
        except Exception as exc:
            self.is_unclear |= not certainly_not_sent(exc)
            raise
        self.is_sent = True


@dataclass(eq=False)
class Entry:
    """One message of a batch."""

    parcel: Parcel
    client: Any
    options: dict[str, Any]
    code: str = ""
    """Why it has failed, as far as it has."""
    is_certain: bool = True
    """Whether no attempt so far can have put it on the queue without our knowledge."""
    error: BaseException | None = None
    """Why its payload was not stored."""
    since: float = field(default_factory=monotonic)
    """When it was collected."""

    @property
    def url(self) -> str:
        """The queue's URL."""
        return str(self.options["QueueUrl"])

    @property
    def upload(self) -> Upload | None:
        """The upload of its payload, if a thread stores that."""
        return self.parcel.publication.upload

    @property
    def shares_upload(self) -> bool:
        """Whether its payload is in a pack that waits for others."""
        return self.upload is not None and self.upload.takes_more

    @property
    def is_due(self) -> bool:
        """Whether it has waited long enough for others."""
        seconds = lingering.PACK_SECONDS if self.shares_upload else lingering.SECONDS
        return monotonic() - self.since >= seconds

    def is_stored(self) -> bool:
        """Wait for its payload, and say whether it is stored; if not, the message has failed."""
        self.error = None if self.upload is None else self.upload.error()
        if self.error is not None:
            self.fails(type(self.error).__name__, is_certain=True)
        return self.error is None

    @cached_property
    def size_bytes(self) -> int:
        """Size as SQS counts it."""
        return len(self.options["MessageBody"].encode()) + attributes_bytes(
            self.options.get("MessageAttributes")
        )

    @property
    def sequence(self) -> tuple[str, str] | None:
        """What it must not be overtaken in: the message group of a FIFO queue."""
        return (self.url, self.options["MessageGroupId"]) if self.url.endswith(SQS_FIFO_SUFFIX) else None

    def fails(self, why: str, *, is_certain: bool) -> None:
        """Note that an attempt has failed."""
        self.code, self.is_certain = why, self.is_certain and is_certain


def send(entries: list[Entry]) -> dict[Entry, Failure]:
    """Send entries of one queue in one call, and return those that are not confirmed."""
    client, url = entries[0].client, entries[0].url
    try:
        if len(entries) == 1:
            client.send_message(**entries[0].options)
            return {}
        answer = client.send_message_batch(QueueUrl=url, Entries=_numbered(entries))
    except FAILURES as exc:
        return dict.fromkeys(entries, failures.of_call(exc))
    return _unconfirmed(entries, answer)


def send_apart(entries: list[Entry]) -> dict[Entry, Failure]:
    """Send entries of one queue, in several calls if one cannot have them all; see :func:`send`."""
    unsent = send(entries)
    if len(entries) > 1 and any(is_for_one(each.code) for each in unsent.values()):
        half = len(entries) // 2
        return send_apart(entries[:half]) | send_apart(entries[half:])
    return unsent


def _numbered(entries: list[Entry]) -> list[dict[str, Any]]:
    """Return entries as SQS wants them; an entry's id is its place."""
    options = [{**entry.options, "Id": str(place)} for place, entry in enumerate(entries)]
    return [{name: value for name, value in each.items() if name != "QueueUrl"} for each in options]


def _unconfirmed(entries: list[Entry], answer: dict[str, Any]) -> dict[Entry, Failure]:
    confirmed = {each["Id"] for each in answer.get("Successful", ())}
    failed = {each["Id"]: each for each in answer.get("Failed", ())}
    return {
        entry: failures.of_entry(answer, failed.get(str(place)))
        for place, entry in enumerate(entries)
        if str(place) not in confirmed
    }


def is_for_one(why: str) -> bool:
    """Return whether fewer entries may be taken: one is invalid, or the broker takes less than we know."""
    return meaning_of_code(why) is TOO_LONG or why == ParamValidationError.__name__

"""What the caller of a batch learns of messages that were not sent."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from kombu.exceptions import OperationalError

from pipeline.transport.send import failures
from pipeline.transport.send.entries import Entry


class Failed(NamedTuple):
    """A message that was not sent, or that may not have been sent."""

    task_id: str
    queue: str
    code: str
    """SQS's, or the name of the error if SQS did not answer."""
    is_certain: bool
    """Whether it is certain that the message is not on the queue."""


class BatchSendError(OperationalError):
    """Some of the messages that were published together were not sent; ``failed`` names each of them."""

    def __init__(self, message: str, failed: Iterable[Iterable[Any]] = ()) -> None:
        self.failed = tuple(Failed(*each) for each in failed)
        super().__init__(message, self.failed)

    def __str__(self) -> str:
        return str(self.args[0])


def named(entry: Entry) -> Failed:
    """Return what the caller learns of a message that has failed."""
    publication = entry.parcel.publication
    return Failed(publication.task_id, publication.queue, entry.code, entry.is_certain)


def batch_error(failed: list[Failed]) -> BatchSendError:
    """Return the error of all messages of a batch that have failed."""
    queues = ", ".join(sorted({each.queue for each in failed}))
    codes, unclear_count = failures.summary(failed)
    return BatchSendError(
        f"messages not sent: {len(failed)} [queue={queues}, code={codes}]; SQS returned errors or did not "
        f"confirm them, or their payloads were not stored, and {unclear_count} of them may have been sent; "
        ".failed names their tasks: fix the cause and publish those again",
        failed,
    )

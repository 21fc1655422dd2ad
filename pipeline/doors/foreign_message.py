"""What a door gets and what it returns: a message of others, and calls of tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.claimcheck.handles.handle import Handle


@dataclass(frozen=True, slots=True)
class ForeignMessage:
    """A message of SQS that no Celery has sent. Nothing in it is checked."""

    body: str = field(repr=False)
    """Its body as SQS delivered it, up to 1 MiB."""
    attributes: Mapping[str, str | bytes] = field(default_factory=dict, repr=False)
    """The message attributes that its sender has set; numbers are texts."""
    id: str = ""
    """SQS's message id: the same when the message is delivered again."""
    queue: str = ""
    """Name of the queue, as Celery has it."""


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A call of a task that a door has found in a message.

    It runs with the settings of its task. Its arguments may be of all types that the serializer writes.
    """

    task: str
    """Name of the task, as it is registered."""
    args: Sequence[Any] = field(default=(), repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    task_id: str | None = None
    """Id of the task; by default one that follows from the message's id and the place of the call in it, so
    that a message which is delivered again leads to the same ids."""
    deletes: Handle | None = field(default=None, repr=False)
    """Object to be deleted when the task has ended, retries included, and its message has settled: of a store
    that the app owns."""


class Door(Protocol):
    """A function that translates a message into calls of tasks.

    Process: the worker's main process, in its event loop. So it does no I/O, and needs less than 100 ms for a
    message of 1 MiB. Without a call the message is deleted; several calls become a message each.
    """

    def __call__(self, message: ForeignMessage, /) -> Iterable[TaskCall]:
        """Return the calls.

        Raises:
            MalformedError: the message is not what the door expects. SQS moves it to the dead-letter queue,
                unchanged; so it does after any other error.
        """

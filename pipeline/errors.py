"""All errors of this library.

::

    PipelineError                  retryable = False
    ├── ClaimError                 the claim is rejected: unknown version, foreign key, impossible size
    ├── TaskInProgressError        another delivery runs this idempotent task; retryable = True
    ├── MalformedError             worker; a door cannot make a task call of a message
    ├── EventSendError             producer; SNS or EventBridge did not take some events
    ├── RevokedWhileWaitingError   worker; the task was revoked while it waited for its ETA
    ├── PayloadError
    │   ├── PayloadEncodeError     producer; an argument cannot be serialised (names its path and type)
    │   ├── PayloadExpiresError    producer; the task's ETA is beyond payload_ttl_seconds
    │   ├── PayloadTooLargeError   producer and worker; above payload_limit_bytes
    │   └── PayloadCorruptError    worker; size, digest or compression differs from the claim
    └── StoreError
        ├── PayloadMissingError    released, expired, or never written
        │   └── PayloadReleasedError   … because its task has ended: a second delivery
        ├── StoreDeniedError       credentials, bucket policy, wrong region, no such bucket
        └── StoreUnavailableError  timeout, 5xx, throttling; retryable = True

Every error is built from positional arguments alone, so it survives pickling from a pool child to
the main process. (With a keyword-only ``__init__`` it does not: ``BaseException.__reduce__`` passes only
``args``.) No error subclasses a vendor's, and none contains payload text.

Wrong configuration raises the builtin ``ValueError`` at start-up, never later.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple


def printable(text: str) -> str:
    """Return a text on one line: control characters and lone surrogates are escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


class PipelineError(Exception):
    """Base class of the library's errors."""

    retryable: ClassVar[bool] = False
    """Whether a later retry can succeed."""

    def __str__(self) -> str:
        """Return the text on one line: the key of an object of others may hold any character."""
        return printable(super().__str__())


class ClaimError(PipelineError):
    """This process rejects a claim."""


class TaskInProgressError(PipelineError):
    """Another delivery of the same call runs now; this one is redelivered later. See ``idempotency/``."""

    retryable: ClassVar[bool] = True

    free_in_seconds: float = 0.0
    """Seconds after which the other run must have ended; an earlier delivery finds it running, unless it
    failed."""


class MalformedError(PipelineError):
    """A door cannot make a task call of a message: SQS moves it to the dead-letter queue, unchanged.

    The text says what is wrong, and shows nothing of the message.
    """


class FailedEvent(NamedTuple):
    """An event that was not sent, or that may not have been sent."""

    place: int
    """Its place among those that were sent together, from 0."""
    code: str
    """AWS's, or the name of the error if there was no answer."""
    is_certain: bool
    """Whether it is certain that nobody receives it."""


class EventSendError(PipelineError):
    """Some of the events that were sent together were not sent; ``failed`` names each of them."""

    def __init__(self, message: str, failed: Iterable[Iterable[Any]] = ()) -> None:
        self.failed = tuple(FailedEvent(*each) for each in failed)
        super().__init__(message, self.failed)

    def __str__(self) -> str:
        return printable(str(self.args[0]))


class RevokedWhileWaitingError(PipelineError):
    """The task was revoked while it waited for its ETA and ends as REVOKED: ``claimcheck/revocations.py``."""


class PayloadError(PipelineError):
    """Base class of errors of the payload itself."""


class PayloadEncodeError(PayloadError):
    """A value cannot be serialised; the message has its path and type, never its text."""


class PayloadExpiresError(PayloadError):
    """A payload would expire before the ETA of its task."""


class PayloadTooLargeError(PayloadError):
    """A payload is above ``payload_limit_bytes``."""


class PayloadCorruptError(PayloadError):
    """The payload in the store differs from the claim."""


class StoreError(PipelineError):
    """A request to the store failed."""


class PayloadMissingError(StoreError):
    """The store has no such payload."""


class PayloadReleasedError(PayloadMissingError):
    """The payload was released because its task has ended; the message was redelivered."""


class StoreDeniedError(StoreError):
    """The store answered, and denies access: permissions, credentials, region or bucket name."""


class StoreUnavailableError(StoreError):
    """The store did not answer, or answered that it cannot serve now."""

    retryable: ClassVar[bool] = True


class FramesDropped:
    """Removes the frames of a ``with`` block from its errors, and all frames from their causes.

    Args:
        kind: class of the errors; by default the library's.

    Error trackers show the local variables of each frame; this library's and botocore's contain payloads,
    keys and signed requests. The error's message says what happened. Not a generator: ``contextlib`` restores
    frames.
    """

    def __init__(self, kind: type[Exception] = PipelineError) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        """Enter the block."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leave it."""
        if isinstance(error, self._kind):
            _drop_frames(error)


def _drop_frames(error: BaseException) -> None:
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and (each.__traceback__ is not None or each is error):
            each.__traceback__ = None  # one without frames is done already: causes may be shared
            waiting += [each.__cause__, each.__context__]

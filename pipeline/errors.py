"""Everything that can go wrong, on one page.

::

    PipelineError                  retryable = False
    ├── ClaimError                 the claim cannot be honoured: unknown version, foreign key, absurd size
    ├── TaskInProgressError        another delivery runs this idempotent task; retryable = True
    ├── RevokedWhileWaitingError   worker; the task was revoked while it waited for its ETA
    ├── PayloadError
    │   ├── PayloadEncodeError     producer; an argument cannot be serialised (names its path and type)
    │   ├── PayloadExpiresError    producer; the task's ETA is beyond payload_ttl_seconds
    │   ├── PayloadTooLargeError   producer and worker; above payload_limit_bytes
    │   └── PayloadCorruptError    worker; size, digest or compression is not what the claim says
    └── StoreError
        ├── PayloadMissingError    released, expired, or never written
        │   └── PayloadReleasedError   … because its task has ended: this is a second delivery
        ├── StoreDeniedError       credentials, bucket policy, wrong region, no such bucket
        └── StoreUnavailableError  timeout, 5xx, throttling; retryable = True

Every error is built from positional arguments alone, so it survives the pickle that carries it from a
pool process to the main one. (A keyword-only ``__init__`` does not: ``BaseException.__reduce__`` replays
``args``.) No error subclasses a vendor's, and none ever contains payload text.

Wrong configuration raises the builtin ``ValueError`` at start-up, never later.
"""

from typing import ClassVar


class PipelineError(Exception):
    """Root of every error that this library raises on purpose."""

    retryable: ClassVar[bool] = False
    """Whether trying again later, unchanged, can succeed."""


class ClaimError(PipelineError):
    """A claim that this process must not or cannot honour."""


class TaskInProgressError(PipelineError):
    """Another delivery of the same call runs now, and this one comes again later; see ``idempotency/``."""

    retryable: ClassVar[bool] = True

    free_in_seconds: float = 0.0
    """When the other must have ended: no delivery before that is of use, unless the other fails."""


class RevokedWhileWaitingError(PipelineError):
    """The task was revoked while it waited for its ETA and ends as REVOKED: ``claimcheck/revocations.py``."""


class PayloadError(PipelineError):
    """Something is wrong with the payload itself, wherever it is stored."""


class PayloadEncodeError(PayloadError):
    """A value cannot be serialised; the message names its path and type, never its text."""


class PayloadExpiresError(PayloadError):
    """A payload would be gone before its task may run."""


class PayloadTooLargeError(PayloadError):
    """A payload is above ``payload_limit_bytes``."""


class PayloadCorruptError(PayloadError):
    """What came back from the store is not what was put there."""


class StoreError(PipelineError):
    """The store could not do what it was asked."""


class PayloadMissingError(StoreError):
    """The store answered, and there is no such payload."""


class PayloadReleasedError(PayloadMissingError):
    """The payload was released because its task has ended; the message was delivered once more."""


class StoreDeniedError(StoreError):
    """The store answered, and denies access: permissions, credentials, region or bucket name."""


class StoreUnavailableError(StoreError):
    """The store did not answer, or asked us to come back later."""

    retryable: ClassVar[bool] = True


class FramesDropped:
    """Lets errors leave a ``with`` block without the frames in it, and their causes without any.

    Args:
        kind: the errors that this is for: our own, unless something else is said.

    Error trackers show the local variables of each frame: ours and botocore's hold payloads, keys and signed
    requests there. What happened is in the error's message. No generator, as ``contextlib`` puts frames back.
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
            each.__traceback__ = None  # what has none was here before: causes may be shared
            waiting += [each.__cause__, each.__context__]

"""What SQS answered, and what may be concluded from it."""

from collections.abc import Iterator
from http import HTTPStatus

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from kombu.exceptions import ChannelError, EncodeError, KombuError
from kombu.transport.SQS.exceptions import AccessDeniedQueueException

FAILURES = (ClientError, BotoCoreError, OSError)
"""What a call of SQS may raise: an answer that says no, or no answer."""

_STALE = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
"""Codes that mean: this receipt handle will never work again. Real SQS says ``InvalidParameterValue``, "The
receipt handle has expired". Source: SQS API Reference, DeleteMessage and ChangeMessageVisibility."""


_PASSING = frozenset({"QueueDeletedRecently", "RequestThrottled", "Throttling", "ThrottlingException"})
"""Codes that mean: not now. Source: SQS API Reference, CreateQueue and "Common error types"."""


class NotSettledError(ChannelError):
    """SQS has not confirmed the delete of a message: it may be delivered again, and its payload stays."""


class NotRoutedError(KombuError):
    """A task was published to an exchange that leads to no queue: bindings are this process's own."""


class DeleteDeniedError(NotSettledError, AccessDeniedQueueException):
    """This process may not delete messages. It is Kombu's own error for that as well."""


def is_stale(code: str) -> bool:
    """Say whether a code means that the receipt handle is of no use any more; old ones carry a prefix."""
    return code.rpartition(".")[2] in _STALE


def code(exc: BaseException) -> str:
    """Return SQS's code of a failure, or the name of the error if there was no answer."""
    if isinstance(exc, ClientError):
        return str(exc.response.get("Error", {}).get("Code", "an error"))
    return type(exc).__name__


def may_pass(exc: ClientError) -> bool:
    """Say whether the same call may be answered otherwise a minute later: SQS is busy, or out of order."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or code(exc).rpartition(".")[2] in _PASSING


def refused(exc: BaseException) -> bool:
    """Say whether a failed publish is certain not to have reached the queue.

    That is so when nothing was sent, as when botocore itself rejects parameters, or when the broker answered
    the first time of asking that it is the caller's mistake. After a timeout, a lost connection or a server
    error the message may be there, and so it may when a refusal was the answer to a repetition.
    """
    if isinstance(exc, (EncodeError, NotRoutedError)):
        return True
    known = (cause for cause in _causes(exc) if isinstance(cause, ClientError | ParamValidationError))
    answer = next(known, None)
    if not isinstance(answer, ClientError):
        return answer is not None
    metadata = answer.response.get("ResponseMetadata", {})
    status, repeated = metadata.get("HTTPStatusCode", 0), metadata.get("RetryAttempts", 0)
    return not repeated and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__

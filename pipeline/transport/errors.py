"""Errors of the transport, and whether a failed publish can have reached its queue."""

from collections.abc import Iterator
from http import HTTPStatus

from kombu.exceptions import ChannelError, EncodeError, KombuError
from kombu.transport.SQS.exceptions import AccessDeniedQueueException

from pipeline.errors import PipelineError
from pipeline.transport.sqs_errors import FAILURES, meaning_of


class NotSettledError(ChannelError):
    """SQS has not confirmed the delete of a message: it may be delivered again, and its payload stays."""


class NotRoutedError(KombuError):
    """A task was published to an exchange that leads to no queue: bindings are this process's own."""


class DeleteDeniedError(NotSettledError, AccessDeniedQueueException):
    """This process may not delete messages. It is Kombu's own error for that as well."""


def certainly_not_sent(exc: BaseException) -> bool:
    """Return whether a failed publish is certain not to have reached the queue.

    It is if nothing was sent, as when botocore itself rejects parameters, or if the broker answered the first
    request with an error of the caller. After a timeout, a lost connection or a server error the message may
    have been sent. So it may if the error is the answer to a retry of botocore.
    """
    if isinstance(exc, (EncodeError, NotRoutedError, PipelineError)):  # no broker raises one of these
        return True
    failure = next((cause for cause in _causes(exc) if isinstance(cause, FAILURES)), None)
    if failure is None:
        return False
    metadata = (getattr(failure, "response", None) or {}).get("ResponseMetadata", {})
    status, repeated = metadata.get("HTTPStatusCode", 0), metadata.get("RetryAttempts", 0)
    return not repeated and status < HTTPStatus.INTERNAL_SERVER_ERROR and meaning_of(failure).is_certain


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__

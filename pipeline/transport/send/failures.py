"""What is known of an entry that SQS, SNS or EventBridge has not confirmed: a call may fail some of many."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from pipeline.transport.errors import certainly_not_sent
from pipeline.transport.sqs_errors import code, meaning_of, meaning_of_code


class Failure(NamedTuple):
    """Why an entry is not confirmed."""

    code: str
    """The service's, or the name of the error if there was no answer."""
    is_certain: bool
    """Whether it is certain that this attempt did not send it."""
    is_transient: bool
    """Whether the next attempt may succeed."""


class Unsent(Protocol):
    """What a caller learns of one entry that was not confirmed."""

    @property
    def code(self) -> str:
        """See ``Failure``."""

    @property
    def is_certain(self) -> bool:
        """See ``Failure``."""


NO_ANSWER = Failure("no answer", is_certain=False, is_transient=True)
"""Of an entry that the answer does not name nothing is known."""


def of_call(exc: BaseException) -> Failure:
    """Return what is known of all entries of a call that failed."""
    return Failure(code(exc), certainly_not_sent(exc), meaning_of(exc).is_transient)


def of_entry(answer: Mapping[str, Any], failed: Mapping[str, Any] | None) -> Failure:
    """Return what is known of an entry that an answer of SQS or SNS does not confirm.

    Args:
        answer: the whole answer.
        failed: what it says of the entry; None if it says nothing.
    """
    if failed is None:
        return NO_ANSWER
    is_ours = bool(failed.get("SenderFault"))
    status = HTTPStatus.BAD_REQUEST if is_ours else HTTPStatus.INTERNAL_SERVER_ERROR
    return of_code(answer, str(failed.get("Code", "an error")), status)


def of_code(answer: Mapping[str, Any], why: str, status: int = 0) -> Failure:
    """Return what is known of an entry that an answer fails with a code.

    If botocore retried, the first request may have sent what fails now.
    """
    meaning = meaning_of_code(why, status)
    is_first = not answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    return Failure(why, is_first and meaning.is_certain, meaning.is_transient)


def summary(failed: Iterable[Unsent]) -> tuple[str, int]:
    """Return the codes of entries that were not confirmed, and how many of them may have been sent."""
    unsent = list(failed)
    codes = ", ".join(sorted({each.code for each in unsent}))
    return codes, sum(not each.is_certain for each in unsent)

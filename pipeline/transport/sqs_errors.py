"""What errors of SQS and SNS mean: one table of error codes, and one of errors without an answer.

Codes come from the SQS and SNS API References, "Errors" of each action and "Common Error Types", and from
what AWS and stand-ins were seen to answer; older ones have a prefix up to a dot. For S3 there is
``pipeline/stores/s3/error_table.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.aws.error_codes import EXPIRED_CODES, THROTTLING_CODES

FAILURES = (ClientError, BotoCoreError, OSError)
"""What a call of SQS may raise: an error of SQS, or no answer."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer means: each of the constants below is one."""

    remedy: str
    """What a person can do about it; may name the ``{call}``."""
    is_transient: bool = False
    """Whether the same call may succeed later without a change."""
    is_certain: bool = True
    """Whether SQS has certainly done nothing of what it was asked for."""


BUSY = Meaning("try again later", is_transient=True)
BROKEN = Meaning("try again later", is_transient=True, is_certain=False)
EXPIRED = Meaning("check credentials, region and clock", is_transient=True)
"""The credentials are not accepted now: expired, or so new that not every host of AWS has them."""
SKEWED = Meaning("check the clock of this machine, and credentials", is_transient=True)
UNKNOWN = Meaning("check credentials, region and clock")
"""Authentication failures: missing, expired or badly signed credentials."""
DENIED = Meaning("allow sqs:{call} there, as deploy/roles.yaml does")
STALE = Meaning("correct the value that it names; a receipt handle is no longer valid")
"""The receipt handle is no longer valid. SQS answers ``InvalidParameterValue`` to one that has expired."""
ABSENT = Meaning("create the queue or topic, or correct its name, region and account")
PRESENT = Meaning("use the one that exists, or another name")
TOO_LONG = Meaning("lower broker_limit_bytes to what this broker takes")
MISTAKE = Meaning("fix what it names: a queue, the region, or another setting")
NO_CREDENTIALS = Meaning(
    "give this process credentials: aws configure, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or a role"
)
NOT_FETCHED = Meaning(NO_CREDENTIALS.remedy, is_transient=True, is_certain=False)
"""The credential provider did not return credentials."""
UNFIT = Meaning("fix the setting that it names: region, endpoint, profile or queue")

CODES: Mapping[str, Meaning] = {
    **dict.fromkeys(THROTTLING_CODES, BUSY),
    **dict.fromkeys(EXPIRED_CODES, EXPIRED),
    "KmsThrottled": BUSY,
    "KMSThrottling": BUSY,
    "KMSThrottlingException": BUSY,
    "OverLimit": BUSY,
    "PurgeQueueInProgress": BUSY,
    "QueueDeletedRecently": BUSY,
    "Throttled": BUSY,
    "InternalError": BROKEN,
    "InternalErrorException": BROKEN,
    "InternalFailure": BROKEN,
    "InternalServerError": BROKEN,
    "RequestTimeout": BROKEN,
    "RequestTimeoutException": BROKEN,
    "ServiceUnavailable": BROKEN,
    "ServiceUnavailableException": BROKEN,
    "InvalidSignatureException": SKEWED,
    "RequestExpired": SKEWED,
    "RequestInTheFuture": SKEWED,
    "RequestTimeTooSkewed": SKEWED,
    "SignatureDoesNotMatch": SKEWED,
    "IncompleteSignature": UNKNOWN,
    "InvalidSecurity": UNKNOWN,
    "MissingAuthenticationToken": UNKNOWN,
    "AccessDenied": DENIED,
    "AccessDeniedException": DENIED,
    "AuthorizationError": DENIED,
    "AuthorizationErrorException": DENIED,
    "KmsAccessDenied": DENIED,
    "OptInRequired": DENIED,
    "InvalidParameterValue": STALE,
    "MessageNotInflight": STALE,
    "ReceiptHandleIsInvalid": STALE,
    "NonExistentQueue": ABSENT,
    "NotFound": ABSENT,
    "NotFoundException": ABSENT,
    "QueueDoesNotExist": ABSENT,
    "QueueAlreadyExists": PRESENT,
    "QueueNameExists": PRESENT,
    "BatchRequestTooLong": TOO_LONG,
}
"""By code. What is not here is judged by its HTTP status."""

CLASSES: Mapping[type[BaseException], Meaning] = {
    boto.NoCredentialsError: NO_CREDENTIALS,
    boto.PartialCredentialsError: NO_CREDENTIALS,
    boto.CredentialRetrievalError: NOT_FETCHED,
    boto.TokenRetrievalError: NO_CREDENTIALS,
    boto.SSOError: NO_CREDENTIALS,
    boto.EndpointProviderError: UNFIT,
    boto.InvalidRegionError: UNFIT,
    boto.NoRegionError: UNFIT,
    boto.ParamValidationError: UNFIT,
    boto.ProfileNotFound: UNFIT,
    boto.ValidationError: UNFIT,
    Exception: BROKEN,
}
"""What was not answered, or not asked; the nearest class in an error's ancestry decides."""


def code(exc: BaseException) -> str:
    """Return SQS's code of a failure, or the name of the error if there was no answer."""
    if isinstance(exc, ClientError):
        return str(exc.response.get("Error", {}).get("Code", "an error"))
    return type(exc).__name__


def meaning_of_code(code: str, status: int = 0) -> Meaning:
    """Return what a code means; an unknown one is judged by the HTTP status that it came with."""
    known = CODES.get(code.rpartition("#")[2].rpartition(".")[2])
    if known is not None:
        return known
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return BROKEN
    if status == HTTPStatus.TOO_MANY_REQUESTS or "Throttl" in code:
        return BUSY
    return DENIED if status == HTTPStatus.FORBIDDEN else MISTAKE


def meaning_of(exc: BaseException) -> Meaning:
    """Return what a failure means, whether SQS has answered or not."""
    if isinstance(exc, ClientError):
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return meaning_of_code(code(exc), status)
    return next(CLASSES[kind] for kind in type(exc).__mro__ if kind in CLASSES)


def remedy(exc: BaseException, call: str) -> str:
    """Return what a person can do about a call that failed."""
    return meaning_of(exc).remedy.format(call=call)

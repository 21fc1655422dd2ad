"""What to do about a call of SQS that failed."""

from http import HTTPStatus

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointProviderError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
    ValidationError,
)

from pipeline.transport.answers import code, may_pass

LATER = "try again later"

CREDENTIALS = (
    "give this process credentials: aws configure, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "or a role"
)

DENIALS = frozenset({"AccessDenied", "AccessDeniedException"})
"""Codes that mean: you are known, and not allowed. Source: SQS API Reference, "Common error types"."""

_STRANGERS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Codes that mean: who are you? Source: the same, and AWS's own "Common Errors"."""

NOBODY = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)
"""Errors of who has no credentials to show."""

_UNFIT = (
    EndpointProviderError,
    InvalidRegionError,
    NoRegionError,
    ParamValidationError,
    ProfileNotFound,
    ValidationError,
)
"""Errors of a setting that led nowhere, and of values that botocore itself refuses."""


def of_answer(exc: ClientError, call: str) -> str:
    """Say what to do about what SQS answered: by its code, and else by its status."""
    name, status = (
        code(exc).rpartition(".")[2],
        exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode"),
    )
    if may_pass(exc) or status == HTTPStatus.TOO_MANY_REQUESTS:
        return LATER
    if name in _STRANGERS:
        return "check credentials, region and clock"
    if name in DENIALS or status == HTTPStatus.FORBIDDEN:
        return f"allow sqs:{call} there, as deploy/iam-worker.json does"
    return "fix what it names: a queue, the region, or another setting"


def of_silence(exc: BotoCoreError) -> str:
    """Say what to do where SQS was not asked, or did not answer."""
    if isinstance(exc, NOBODY):
        return CREDENTIALS
    if isinstance(exc, _UNFIT):
        return "fix the setting that it names: region, endpoint, profile or queue"
    return LATER

"""Maps errors of botocore and of AWS's services to the library's errors, for every store in AWS.

A service's table has its error codes; :data:`CLASSES` has the errors without an answer, which all share.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import InvalidURL

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from pipeline.errors import PipelineError, StoreDeniedError, StoreUnavailableError

VENDOR_ERRORS = (boto.ClientError, boto.BotoCoreError, HTTPError)
"""All errors that boto3 raises; while a body is read, some of urllib3's pass through botocore."""

_CAUSE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Meaning:
    """The library's error for one of AWS's or botocore's, with fact and remedy."""

    error: type[PipelineError]
    fact: str
    remedy: str
    """What to do; may contain ``{client_region}`` and ``{other_region}``."""


CREDENTIALS = Meaning(
    StoreDeniedError,
    "store rejected the credentials",
    "give this process valid credentials (environment, profile or role), and check its clock",
)
STALE = Meaning(
    StoreUnavailableError,
    "store rejected the credentials for now",
    "they are reloaded before the next attempt; if this persists, give this process valid credentials "
    "(environment, profile or role)",
)
SKEWED = Meaning(
    StoreUnavailableError, "store rejected the request time", "set the clock of this machine; try again later"
)
CONFIGURATION = Meaning(
    StoreDeniedError,
    "store cannot be used as configured",
    "correct the configuration; a retry does not help",
)
REQUEST = Meaning(
    StoreDeniedError,
    "store request cannot be sent",
    "the client rejected it: correct what the cause names; a retry does not help",
)
UNAVAILABLE = Meaning(StoreUnavailableError, "store unavailable", "try again later")
DAMAGED = Meaning(StoreUnavailableError, "payload damaged in transit", "try again")

CLASSES: Mapping[type[Exception], Meaning] = {
    boto.NoCredentialsError: CREDENTIALS,
    boto.PartialCredentialsError: CREDENTIALS,
    boto.NoAuthTokenError: CREDENTIALS,
    boto.UnknownCredentialError: CREDENTIALS,
    boto.SSOError: CREDENTIALS,
    boto.LoginError: CREDENTIALS,
    boto.RefreshWithMFAUnsupportedError: CREDENTIALS,
    boto.ProfileNotFound: CONFIGURATION,
    boto.ConfigNotFound: CONFIGURATION,
    boto.ConfigParseError: CONFIGURATION,
    boto.InvalidConfigError: CONFIGURATION,
    boto.InvalidRetryConfigurationError: CONFIGURATION,
    boto.BaseEndpointResolverError: CONFIGURATION,
    boto.EndpointProviderError: CONFIGURATION,
    boto.InvalidEndpointConfigurationError: CONFIGURATION,
    boto.InvalidProxiesConfigError: CONFIGURATION,
    boto.UnsupportedS3ArnError: CONFIGURATION,
    boto.UnsupportedS3ConfigurationError: CONFIGURATION,
    boto.MissingDependencyException: CONFIGURATION,
    boto.DataNotFoundError: CONFIGURATION,
    boto.InvalidDefaultsMode: CONFIGURATION,
    boto.InvalidIMDSEndpointError: CONFIGURATION,
    boto.InvalidIMDSEndpointModeError: CONFIGURATION,
    boto.InvalidS3AddressingStyleError: CONFIGURATION,
    boto.InvalidS3UsEast1RegionalEndpointConfigError: CONFIGURATION,
    boto.InvalidSTSRegionalEndpointsConfigError: CONFIGURATION,
    boto.MD5UnavailableError: CONFIGURATION,
    boto.ServiceNotInRegionError: CONFIGURATION,
    boto.UnknownRegionError: CONFIGURATION,
    boto.UnknownSignatureVersionError: CONFIGURATION,
    boto.UnsupportedOutpostResourceError: CONFIGURATION,
    boto.UnsupportedS3AccesspointConfigurationError: CONFIGURATION,
    boto.UnsupportedServiceProtocolsError: CONFIGURATION,
    boto.UnsupportedSignatureVersionError: CONFIGURATION,
    boto.InvalidDNSNameError: REQUEST,
    boto.InvalidHostLabelError: REQUEST,
    boto.MissingParametersError: REQUEST,
    boto.ParamValidationError: REQUEST,
    boto.UnseekableStreamError: REQUEST,
    boto.ValidationError: REQUEST,
    boto.FlexibleChecksumError: DAMAGED,
    boto.BotoCoreError: UNAVAILABLE,
    boto.ClientError: UNAVAILABLE,
    HTTPError: UNAVAILABLE,
}
"""Errors without an answer of AWS; the nearest base class decides.

A failure to *fetch* credentials (CredentialRetrievalError and its subclasses) is retryable: metadata services
fail at times.
"""


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """What the errors of one service mean.

    Args:
        service: its name, for texts.
        codes: its error codes. A code that is not there means what its botocore class does, which is
            :class:`~pipeline.errors.StoreUnavailableError` for an answer: the caller's retry limit bounds it.
    """

    service: str
    codes: Mapping[str, Meaning]

    @contextmanager
    def translated(self, place: str, client_region: Callable[[], str]) -> Iterator[None]:
        """Map every error of boto3 to one of the library's, in any process.

        Args:
            place: the object, such as ``bucket=…, key=…``.
            client_region: called only after an error; must not fail.

        Raises:
            PayloadMissingError, PayloadCorruptError, StoreDeniedError, StoreUnavailableError: see the table.
        """
        try:
            yield
        except VENDOR_ERRORS as exc:
            raise self.explain(exc, place, client_region()) from exc

    def explain(self, exc: Exception, place: str, client_region: str) -> PipelineError:
        """Return the library's error for one of boto3's: fact, place, cause, remedy. Never fails."""
        meaning = self.meaning_of(exc)
        remedy = meaning.remedy.format(client_region=client_region, other_region=_other_region(exc))
        return meaning.error(f"{meaning.fact} [{place}]: {self._cause(exc)}; {remedy}")

    def meaning_of(self, exc: Exception) -> Meaning:
        """Look an error up: by the service's code if the table has it, else by its class."""
        if _is_unsendable(exc):
            return REQUEST
        known = self.codes.get(code_of(exc))
        return known or next(CLASSES[kind] for kind in type(exc).__mro__ if kind in CLASSES)

    def is_denial(self, code: str) -> bool:
        """Return whether an error code is a permanent denial."""
        meaning = self.codes.get(code)
        return meaning is not None and meaning.error is StoreDeniedError

    def _cause(self, exc: Exception) -> str:
        if not isinstance(exc, boto.ClientError):
            return f"{type(exc).__name__}: {_text(exc)}"
        status = answer_of(exc, "ResponseMetadata").get("HTTPStatusCode", "no status")
        message = answer_of(exc, "Error").get("Message", "")
        return f"{self.service} answered {code_of(exc) or 'no code'} ({status}) {_text(message)}".rstrip(" .")


def _is_unsendable(exc: Exception) -> bool:
    """Return whether Python's HTTP client rejected a header or the URL; botocore wraps that error.

    Source: botocore 1.44, ``httpsession.py`` (``URLLib3Session.send``); Python 3.11, ``http/client.py``.
    """
    hidden = getattr(exc, "kwargs", {}).get("error") if isinstance(exc, boto.HTTPClientError) else None
    is_header = isinstance(hidden, ValueError) and str(hidden).startswith("Invalid header")
    return is_header or isinstance(hidden, UnicodeError | InvalidURL)


def code_of(exc: Exception) -> str:
    """Return AWS's error code, or an empty string."""
    return str(answer_of(exc, "Error").get("Code", ""))


def _other_region(exc: Exception) -> str:
    headers = answer_of(exc, "ResponseMetadata").get("HTTPHeaders")
    named = headers.get("x-amz-bucket-region") if isinstance(headers, dict) else None
    return _text(named or answer_of(exc, "Error").get("Region") or "another one")


def answer_of(exc: Exception, part: str) -> dict[str, object]:
    """Return a part of AWS's answer as a dict, even if a proxy changed the answer."""
    response = getattr(exc, "response", None)
    found = response.get(part) if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    try:
        return " ".join(str(value).split())[:_CAUSE_LENGTH]
    except Exception:  # noqa: BLE001 - formatting must not mask the error
        return "(no description)"

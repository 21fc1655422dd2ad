"""The table of S3's error codes and botocore's errors: which error of the library, and what to do.

Codes come from the S3 API Reference, "Error responses"; an answer without a body (to HEAD) has its HTTP
status as its code. A code that is not in the table means :class:`~pipeline.errors.StoreUnavailableError`: the
caller's retry limit bounds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from pipeline.aws.error_codes import EXPIRED_CODES, THROTTLING_CODES
from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    PipelineError,
    StoreDeniedError,
    StoreUnavailableError,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """The library's error for an S3 or botocore error, with fact and remedy."""

    error: type[PipelineError]
    fact: str
    remedy: str
    """What to do; may contain ``{client_region}`` and ``{bucket_region}``."""


_MISSING = Meaning(PayloadMissingError, "payload missing", "released, expired, or never written")
_CHANGED = Meaning(PayloadCorruptError, "payload corrupt", "another writer changed this object")
_NO_BUCKET = Meaning(
    StoreDeniedError,
    "the bucket does not exist",
    "create it, or correct its name; this client uses region {client_region}",
)
_FORBIDDEN = Meaning(
    StoreDeniedError,
    "store denies access",
    "allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListBucket and the use of the bucket's KMS key "
    "(without s3:ListBucket, S3 answers 403 for a missing key too); this client uses region "
    "{client_region}",
)
_CREDENTIALS = Meaning(
    StoreDeniedError,
    "store rejected the credentials",
    "give this process valid credentials (environment, profile or role), and check its clock",
)
_STALE = Meaning(
    StoreUnavailableError,
    "store rejected the credentials for now",
    "they are reloaded before the next attempt; if this persists, give this process valid credentials "
    "(environment, profile or role)",
)
_SKEWED = Meaning(
    StoreUnavailableError, "store rejected the request time", "set the clock of this machine; try again later"
)
_REGION = Meaning(
    StoreDeniedError,
    "store is in another region",
    "this client uses region {client_region} and the bucket is in {bucket_region}: set AWS_DEFAULT_REGION "
    "or region=",
)
_CONFIGURATION = Meaning(
    StoreDeniedError,
    "store cannot be used as configured",
    "correct the configuration; a retry does not help",
)
REQUEST = Meaning(
    StoreDeniedError,
    "store request cannot be sent",
    "the client rejected it: correct what the cause names; a retry does not help",
)
_KMS = Meaning(
    StoreDeniedError,
    "store cannot use its KMS key",
    "enable the key, allow this role to use it, and check kms_key_id",
)
_UNAVAILABLE = Meaning(StoreUnavailableError, "store unavailable", "try again later")
_DAMAGED = Meaning(StoreUnavailableError, "payload damaged in transit", "try again")

CODES: Mapping[str, Meaning] = {
    "NoSuchKey": _MISSING,
    "NoSuchVersion": _MISSING,
    "404": _MISSING,
    "InvalidRange": _CHANGED,
    "416": _CHANGED,
    "PreconditionFailed": _CHANGED,
    "412": _CHANGED,
    "NoSuchBucket": _NO_BUCKET,
    "AccessDenied": _FORBIDDEN,
    "AllAccessDisabled": _FORBIDDEN,
    "AccountProblem": _FORBIDDEN,
    "NotSignedUp": _FORBIDDEN,
    "InvalidObjectState": _FORBIDDEN,
    "403": _FORBIDDEN,
    "SignatureDoesNotMatch": _CREDENTIALS,
    **dict.fromkeys(EXPIRED_CODES, _STALE),
    "RequestExpired": _STALE,
    "400": _STALE,
    "RequestTimeTooSkewed": _SKEWED,
    "RequestInTheFuture": _SKEWED,
    "PermanentRedirect": _REGION,
    "301": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraint": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "KMS.AccessDeniedException": _KMS,
    "KMS.DisabledException": _KMS,
    "KMS.InvalidKeyUsageException": _KMS,
    "KMS.InvalidStateException": _KMS,
    "KMS.KMSInvalidStateException": _KMS,
    "KMS.NotFoundException": _KMS,
    "EntityTooLarge": _CONFIGURATION,
    "InvalidArgument": _CONFIGURATION,
    "InvalidBucketName": _CONFIGURATION,
    "InvalidEncryptionAlgorithmError": _CONFIGURATION,
    "InvalidRequest": _CONFIGURATION,
    "InvalidURI": _CONFIGURATION,
    "KeyTooLongError": _CONFIGURATION,
    "MetadataTooLarge": _CONFIGURATION,
    "MissingSecurityHeader": _CONFIGURATION,
    "RequestHeaderSectionTooLarge": _CONFIGURATION,
    "MethodNotAllowed": _CONFIGURATION,
    "NotImplemented": _CONFIGURATION,
    "BadDigest": _DAMAGED,
    "IncompleteBody": _DAMAGED,
    "XAmzContentSHA256Mismatch": _DAMAGED,
    "ConditionalRequestConflict": _UNAVAILABLE,
    "InternalError": _UNAVAILABLE,
    "NoSuchUpload": _UNAVAILABLE,
    "OperationAborted": _UNAVAILABLE,
    "RequestTimeout": _UNAVAILABLE,
    "ServiceUnavailable": _UNAVAILABLE,
    "500": _UNAVAILABLE,
    "503": _UNAVAILABLE,
    **dict.fromkeys(THROTTLING_CODES, _UNAVAILABLE),
}
"""S3's error codes, and those of STS and KMS that come through it. AWS rejects a new access
key until it has propagated, and an old one until this process has reloaded: both are transient. Sources: S3
API Reference, "Error responses"; IAM User Guide, "Changes that I make are not always immediately visible"."""

CLASSES: Mapping[type[Exception], Meaning] = {
    boto.NoCredentialsError: _CREDENTIALS,
    boto.PartialCredentialsError: _CREDENTIALS,
    boto.NoAuthTokenError: _CREDENTIALS,
    boto.UnknownCredentialError: _CREDENTIALS,
    boto.SSOError: _CREDENTIALS,
    boto.LoginError: _CREDENTIALS,
    boto.RefreshWithMFAUnsupportedError: _CREDENTIALS,
    boto.ProfileNotFound: _CONFIGURATION,
    boto.ConfigNotFound: _CONFIGURATION,
    boto.ConfigParseError: _CONFIGURATION,
    boto.InvalidConfigError: _CONFIGURATION,
    boto.InvalidRetryConfigurationError: _CONFIGURATION,
    boto.BaseEndpointResolverError: _CONFIGURATION,
    boto.EndpointProviderError: _CONFIGURATION,
    boto.InvalidEndpointConfigurationError: _CONFIGURATION,
    boto.InvalidProxiesConfigError: _CONFIGURATION,
    boto.UnsupportedS3ArnError: _CONFIGURATION,
    boto.UnsupportedS3ConfigurationError: _CONFIGURATION,
    boto.MissingDependencyException: _CONFIGURATION,
    boto.DataNotFoundError: _CONFIGURATION,
    boto.InvalidDefaultsMode: _CONFIGURATION,
    boto.InvalidIMDSEndpointError: _CONFIGURATION,
    boto.InvalidIMDSEndpointModeError: _CONFIGURATION,
    boto.InvalidS3AddressingStyleError: _CONFIGURATION,
    boto.InvalidS3UsEast1RegionalEndpointConfigError: _CONFIGURATION,
    boto.InvalidSTSRegionalEndpointsConfigError: _CONFIGURATION,
    boto.MD5UnavailableError: _CONFIGURATION,
    boto.ServiceNotInRegionError: _CONFIGURATION,
    boto.UnknownRegionError: _CONFIGURATION,
    boto.UnknownSignatureVersionError: _CONFIGURATION,
    boto.UnsupportedOutpostResourceError: _CONFIGURATION,
    boto.UnsupportedS3AccesspointConfigurationError: _CONFIGURATION,
    boto.UnsupportedServiceProtocolsError: _CONFIGURATION,
    boto.UnsupportedSignatureVersionError: _CONFIGURATION,
    boto.InvalidDNSNameError: REQUEST,
    boto.InvalidHostLabelError: REQUEST,
    boto.MissingParametersError: REQUEST,
    boto.ParamValidationError: REQUEST,
    boto.UnseekableStreamError: REQUEST,
    boto.ValidationError: REQUEST,
    boto.FlexibleChecksumError: _DAMAGED,
    boto.BotoCoreError: _UNAVAILABLE,
    boto.ClientError: _UNAVAILABLE,
    HTTPError: _UNAVAILABLE,
}
"""Errors without an answer of S3; the nearest base class decides.

A failure to *fetch* credentials (CredentialRetrievalError and its subclasses) is retryable: metadata services
fail at times.
"""

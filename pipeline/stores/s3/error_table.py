"""The table of S3's error codes: which error of the library, and what to do.

Codes come from the S3 API Reference, "Error responses"; an answer without a body (to HEAD) has its HTTP
status as its code.
"""

from collections.abc import Mapping

from pipeline.aws.error_codes import EXPIRED_CODES, THROTTLING_CODES
from pipeline.errors import (
    PayloadCorruptError,
    PayloadMissingError,
    StoreDeniedError,
)
from pipeline.stores.aws.errors import (
    CONFIGURATION,
    CREDENTIALS,
    DAMAGED,
    SKEWED,
    STALE,
    UNAVAILABLE,
    ErrorTable,
    Meaning,
)

KEY_TAKEN_CODES = frozenset({"PreconditionFailed", "412", "NoSuchUpload"})
"""Codes of a conditional write whose key exists.

``NoSuchUpload`` is the second answer to a CompleteMultipartUpload whose first answer was lost.
"""


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
_REGION = Meaning(
    StoreDeniedError,
    "store is in another region",
    "this client uses region {client_region} and the bucket is in {other_region}: set AWS_DEFAULT_REGION "
    "or region=",
)
_KMS = Meaning(
    StoreDeniedError,
    "store cannot use its KMS key",
    "enable the key, allow this role to use it, and check kms_key_id",
)

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
    "SignatureDoesNotMatch": CREDENTIALS,
    **dict.fromkeys(EXPIRED_CODES, STALE),
    "RequestExpired": STALE,
    "400": STALE,
    "RequestTimeTooSkewed": SKEWED,
    "RequestInTheFuture": SKEWED,
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
    "EntityTooLarge": CONFIGURATION,
    "InvalidArgument": CONFIGURATION,
    "InvalidBucketName": CONFIGURATION,
    "InvalidEncryptionAlgorithmError": CONFIGURATION,
    "InvalidRequest": CONFIGURATION,
    "InvalidURI": CONFIGURATION,
    "KeyTooLongError": CONFIGURATION,
    "MetadataTooLarge": CONFIGURATION,
    "MissingSecurityHeader": CONFIGURATION,
    "RequestHeaderSectionTooLarge": CONFIGURATION,
    "MethodNotAllowed": CONFIGURATION,
    "NotImplemented": CONFIGURATION,
    "BadDigest": DAMAGED,
    "IncompleteBody": DAMAGED,
    "XAmzContentSHA256Mismatch": DAMAGED,
    "ConditionalRequestConflict": UNAVAILABLE,
    "InternalError": UNAVAILABLE,
    "NoSuchUpload": UNAVAILABLE,
    "OperationAborted": UNAVAILABLE,
    "RequestTimeout": UNAVAILABLE,
    "ServiceUnavailable": UNAVAILABLE,
    "500": UNAVAILABLE,
    "503": UNAVAILABLE,
    **dict.fromkeys(THROTTLING_CODES, UNAVAILABLE),
}
"""S3's error codes, and those of STS and KMS that come through it. AWS rejects a new access
key until it has propagated, and an old one until this process has reloaded: both are transient. Sources: S3
API Reference, "Error responses"; IAM User Guide, "Changes that I make are not always immediately visible"."""

TABLE = ErrorTable("S3", CODES)

"""The table of DynamoDB's error codes: which error of the library, and what to do.

Codes come from the DynamoDB Developer Guide, "Error handling with DynamoDB".
"""

from collections.abc import Mapping

from pipeline.aws.error_codes import EXPIRED_CODES, THROTTLING_CODES
from pipeline.errors import StoreDeniedError
from pipeline.stores.aws.errors import (
    CONFIGURATION,
    CREDENTIALS,
    SKEWED,
    STALE,
    UNAVAILABLE,
    ErrorTable,
    Meaning,
)

CONDITION_FAILED = "ConditionalCheckFailedException"
"""Code of a conditional write whose condition was not met."""

_NO_TABLE = Meaning(
    StoreDeniedError,
    "the table does not exist",
    "create it, or correct its name; this client uses region {client_region}",
)
_FORBIDDEN = Meaning(
    StoreDeniedError,
    "store denies access",
    "allow dynamodb:GetItem, PutItem, DeleteItem, BatchGetItem, BatchWriteItem and Scan, and the use of the "
    "table's KMS key; this client uses region {client_region}",
)
_FORM = Meaning(
    StoreDeniedError,
    "the table takes no such item",
    "its key must be 'id', a string, without a sort key (docs/howto/pipes.md), and a record must have less "
    "than 400 KB; a retry does not help",
)

CODES: Mapping[str, Meaning] = {
    "ResourceNotFoundException": _NO_TABLE,
    "AccessDenied": _FORBIDDEN,
    "AccessDeniedException": _FORBIDDEN,
    "KMSAccessDeniedException": _FORBIDDEN,
    "ValidationException": _FORM,
    "ItemCollectionSizeLimitExceededException": _FORM,
    "SerializationException": CONFIGURATION,
    "UnknownOperationException": CONFIGURATION,
    "IncompleteSignature": CREDENTIALS,
    "IncompleteSignatureException": CREDENTIALS,
    "InvalidSignatureException": SKEWED,
    "MissingAuthenticationToken": CREDENTIALS,
    "MissingAuthenticationTokenException": CREDENTIALS,
    "SignatureDoesNotMatch": CREDENTIALS,
    **dict.fromkeys(EXPIRED_CODES, STALE),
    "InternalServerError": UNAVAILABLE,
    "InternalFailure": UNAVAILABLE,
    "ReplicatedWriteConflictException": UNAVAILABLE,
    "ServiceUnavailable": UNAVAILABLE,
    "TransactionConflictException": UNAVAILABLE,
    **dict.fromkeys(THROTTLING_CODES, UNAVAILABLE),
}
"""DynamoDB's error codes. A rejected signature may come from a clock that is wrong for the moment."""

TABLE = ErrorTable("DynamoDB", CODES)

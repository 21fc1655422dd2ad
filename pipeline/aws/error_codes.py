"""Error codes that all AWS services share.

Each service has a table of meanings: ``error_table.py`` of a store, ``transport/sqs_errors.py``.
"""

THROTTLING_CODES = frozenset(
    {
        "429",
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMS.LimitExceededException",
        "KMS.ThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""All spellings of "slow down". Source: botocore 1.44.5, ``retries/standard.py``."""

EXPIRED_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
"""Credentials are expired, or so new that they have not propagated. New credentials may be accepted.
Source: "Common Error Types" of the services' API references."""

CREDENTIALS_CODES = EXPIRED_CODES | {"RequestExpired", "SignatureDoesNotMatch", "400"}
"""Codes after which credentials are loaded again. A signature is wrong if a file was read while
it was written; ``400`` is S3's answer to HEAD, which has no body."""

"""Error codes that every service of AWS answers with.

What they mean to us is in a table for each service: ``stores/s3/error_table.py``,
``transport/sqs_errors.py``.
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
"""Credentials that are not good now: expired, or so new that not every host knows them. Others may be.
Source: "Common Error Types" of the services' API references."""

"""What AWS bills. ``docs/explanation/costs.md`` shows the same prices; a test compares them."""

from collections.abc import Mapping

DATED = "November 2026"
"""List prices of us-east-1 in US dollars, without free tiers."""
SQS_DOLLARS = 0.40
"""A million requests of a standard queue, of up to 64 KiB each."""
BILLED_BYTES = 65_536
"""SQS bills each 64 KiB of a request or an answer as one request."""
PUT_DOLLARS = 5.00
GET_DOLLARS = 0.40
S3_DOLLARS = {
    "PutObject": PUT_DOLLARS,
    "CreateMultipartUpload": PUT_DOLLARS,
    "UploadPart": PUT_DOLLARS,
    "CompleteMultipartUpload": PUT_DOLLARS,
    "ListObjectsV2": PUT_DOLLARS,
    "GetObject": GET_DOLLARS,
    "HeadObject": GET_DOLLARS,
}
"""A million requests. Those that delete are free."""

FARGATE_CPU_DOLLARS = 0.04048
"""A vCPU for an hour, x86."""
FARGATE_MEMORY_DOLLARS = 0.004445
"""A GB for an hour."""


def dollars(billed: Mapping[str, float]) -> float:
    """Return the price of requests, given in millions by operation."""
    return sum(number * _price(operation) for operation, number in billed.items())


def worker_dollars(hours: float, cpu_units: int, memory_mb: int) -> float:
    """Return the price of workers on Fargate, in hours of all together."""
    return hours * (cpu_units * FARGATE_CPU_DOLLARS + memory_mb * FARGATE_MEMORY_DOLLARS) / 1_024


def is_sqs(operation: str) -> bool:
    """Return whether an operation is one of SQS."""
    return "Message" in operation or "Queue" in operation


def _price(operation: str) -> float:
    return SQS_DOLLARS if is_sqs(operation) else S3_DOLLARS.get(operation, 0.0)

"""What AWS bills. ``docs/explanation/costs.md`` shows the same prices; a test compares them."""

from collections.abc import Mapping

DATED = "November 2026"
"""List prices of us-east-1 in US dollars, without free tiers."""
SQS_DOLLARS = 0.40
"""A million requests of a standard queue, of up to 64 KiB each."""
S3_DOLLARS = {"PutObject": 5.00, "GetObject": 0.40, "HeadObject": 0.40, "ListObjectsV2": 5.00}
"""A million requests. Those that delete are free."""


def dollars(billed: Mapping[str, float]) -> float:
    """Return the price of requests, given in millions by service and operation."""
    return sum(number * _price(*name.split(" ")) for name, number in billed.items())


def _price(service: str, operation: str) -> float:
    return SQS_DOLLARS if service == "SQS" else S3_DOLLARS.get(operation, 0.0)

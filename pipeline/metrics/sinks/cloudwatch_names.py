"""Namespaces and dimensions that CloudWatch accepts, in API calls and in log lines.

Source: CloudWatch API Reference, PutMetricData and Dimension.
"""

import re
from collections.abc import Iterator

from pipeline.aws.limits import CLOUDWATCH_DIMENSION_LIMIT_CHARACTERS
from pipeline.metrics.recorder import Series

NAMESPACE = "ClaimCheck"
"""Default namespace of the sinks."""

DIMENSIONS = ("Queue", "Task")
"""Names of the dimensions, in the order in which they are sent."""

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def checked_namespace(namespace: str) -> str:
    """Return the namespace if CloudWatch allows it.

    Raises:
        ValueError: CloudWatch does not allow it.
    """
    if not re.fullmatch(r"(?!AWS/|:)[\x20-\x7e]{1,255}", namespace):
        raise ValueError(f"{namespace=}: expected 1 to 255 characters, not starting with : or AWS/")
    return namespace


def dimensions(series: Series) -> Iterator[tuple[str, str]]:
    """Yield name and value of each known dimension, with unprintable characters replaced."""
    for name, value in zip(DIMENSIONS, (series.queue, series.task), strict=True):
        # CloudWatch rejects a whole call for one such character.
        printable = _UNPRINTABLE.sub("?", value).strip().lstrip(":")
        if printable:
            yield name, printable[:CLOUDWATCH_DIMENSION_LIMIT_CHARACTERS]

"""Writes metrics as log lines in CloudWatch's Embedded Metric Format: no API call, no permission.

Lambda, the CloudWatch agent or a log driver of ECS sends the lines to CloudWatch Logs, which extracts metrics
with the same names as those of ``CloudWatchSink``.
Source: CloudWatch User Guide, "Specification: Embedded metric format".
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

from pipeline.metrics import Metric, Series, Unit
from pipeline.metrics.sinks.cloudwatch_names import NAMESPACE, checked_namespace, dimensions

METRICS_PER_LINE = 100
"""Most metrics of one line. Source: as above, MetricDirective."""

VALUES_PER_METRIC = 100
"""Most values of one metric in a line. Source: as above, Target members."""

LINE_LIMIT_BYTES = 4_096
"""Longest line, its end included. CloudWatch allows 256 KiB, and 1 MiB since April 2025. But the processes of
a worker share one pipe, and Linux writes are atomic up to this size. Source: pipe(7), PIPE_BUF."""

_DEFINITION_BYTES = len('{"Name":"","Unit":"Seconds"},"":[],')
"""Bytes of a metric in a line, without its name, which occurs twice, and its values."""

_STDOUT = 1

Document = dict[str, Any]
Dimensions = tuple[tuple[str, str], ...]
Values = dict[Metric, list[float]]


class EmbeddedMetricFormatSink:
    """Writes each batch as lines of JSON. Any process that records; safe after a fork.

    The format has values but no counts per value. So a count is written as its sum and a level as its latest
    value; sizes and durations are written one by one, which keeps percentiles exact.

    Args:
        namespace: CloudWatch's namespace.
        write: takes one line, without its end; by default it goes to the process's standard output, past
            ``sys.stdout``, which a worker turns into a logger. A logger's ``info`` method works if its
            handler formats as ``%(message)s`` only. If it raises, the batch is dropped.

    Raises:
        ValueError: CloudWatch does not allow the namespace.
    """

    def __init__(self, namespace: str = NAMESPACE, write: Callable[[str], object] | None = None) -> None:
        self._namespace = checked_namespace(namespace)
        self._write = write or _to_stdout

    def emit(self, batch: Sequence[Series]) -> None:
        """Write the batch.

        Raises:
            OSError: standard output failed; earlier lines are written.
            Exception: any error of ``write``.
        """
        milliseconds = int(datetime.now(UTC).timestamp() * 1_000)
        for names, data in _by_dimensions(batch).items():
            bare = self._document(milliseconds, names, {})
            available_bytes = LINE_LIMIT_BYTES - len(_line(bare)) - 1
            for values in _lines(data, available_bytes):
                self._write(_line(self._document(milliseconds, names, values)))

    def _document(self, milliseconds: int, names: Dimensions, values: Values) -> Document:
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [[name for name, _ in names]],
            "Metrics": [{"Name": metric.name, "Unit": metric.unit.value} for metric in values],
        }
        targets = {metric.name: found for metric, found in values.items()}
        return {
            "_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]},
            **dict(names),
            **targets,
        }


def _by_dimensions(batch: Iterable[Series]) -> dict[Dimensions, list[tuple[Metric, float]]]:
    found: dict[Dimensions, list[tuple[Metric, float]]] = {}
    for series in batch:
        data = found.setdefault(tuple(dimensions(series)), [])
        data += ((series.metric, value) for value in _values(series))
    return found


def _values(series: Series) -> Iterator[float]:
    if series.metric.is_level:
        yield series.last
    elif series.metric.unit is Unit.COUNT:
        yield series.total
    else:
        for value, count in series.values.items():
            yield from repeat(value, count)


def _lines(data: Iterable[tuple[Metric, float]], available_bytes: int) -> Iterator[Values]:
    """Yield the values that fit into one line each, and at least one value."""
    values: Values = {}
    left_bytes = available_bytes
    for metric, value in data:
        if _is_full(values, metric) or (values and _size_bytes(values, metric, value) > left_bytes):
            yield values
            values, left_bytes = {}, available_bytes
        left_bytes -= _size_bytes(values, metric, value)
        values.setdefault(metric, []).append(value)
    if values:
        yield values


def _is_full(values: Values, metric: Metric) -> bool:
    if metric in values:
        return len(values[metric]) == VALUES_PER_METRIC
    return len(values) == METRICS_PER_LINE


def _size_bytes(values: Values, metric: Metric, value: float) -> int:
    definition = 0 if metric in values else _DEFINITION_BYTES + 2 * len(metric.name)
    return definition + len(json.dumps(value)) + 1


def _line(document: Document) -> str:
    return json.dumps(document, separators=(",", ":"))


def _to_stdout(line: str) -> None:
    """Write a line in one call, so that lines of other processes do not interleave.

    Raises:
        OSError: standard output did not take the whole line.
    """
    data = f"{line}\n".encode()
    if os.write(_STDOUT, data) != len(data):
        raise OSError("standard output accepted only part of a line")

"""Metrics of the library.

``table`` defines them, ``recorder`` collects values and emits them in the background, ``sinks`` deliver them
to CloudWatch, to a log or to OpenTelemetry. ``__all__`` is what is public. Names
imported with ``as`` are for the library itself.
"""

# ruff: isort: skip_file
# It would give each name with "as" a statement of its own.

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.metrics.recorder import (
    EXACT_VALUES as EXACT_VALUES,
    LARGEST_VALUE as LARGEST_VALUE,
    OTHER as OTHER,
    VALUES_PER_SERIES as VALUES_PER_SERIES,
    MetricSink,
    NullSink,
    Recorder as Recorder,
    Series,
)
from pipeline.metrics.table import (
    BODIES_INLINE as BODIES_INLINE,
    DATA_DROPPED as DATA_DROPPED,
    DEAD_LETTERS as DEAD_LETTERS,
    DECODE_SECONDS as DECODE_SECONDS,
    DUPLICATES_IGNORED as DUPLICATES_IGNORED,
    ENCODE_SECONDS as ENCODE_SECONDS,
    HEARTBEAT_FAILURES as HEARTBEAT_FAILURES,
    MESSAGES_REJECTED as MESSAGES_REJECTED,
    MESSAGES_UNSETTLED as MESSAGES_UNSETTLED,
    METRICS as METRICS,
    ORPHANS_FOUND as ORPHANS_FOUND,
    PAYLOAD_BYTES as PAYLOAD_BYTES,
    PAYLOADS_CORRUPT as PAYLOADS_CORRUPT,
    PAYLOADS_MISSING as PAYLOADS_MISSING,
    PAYLOADS_OFFLOADED as PAYLOADS_OFFLOADED,
    PAYLOADS_ORPHANED as PAYLOADS_ORPHANED,
    PAYLOADS_RELEASED as PAYLOADS_RELEASED,
    PAYLOADS_REUSED as PAYLOADS_REUSED,
    QUEUE_BACKLOG as QUEUE_BACKLOG,
    REHYDRATE_SECONDS as REHYDRATE_SECONDS,
    RELEASE_LAG_SECONDS as RELEASE_LAG_SECONDS,
    RELEASE_SECONDS as RELEASE_SECONDS,
    RUN_SECONDS as RUN_SECONDS,
    TASKS_FAILED as TASKS_FAILED,
    TASKS_RETRIED as TASKS_RETRIED,
    TASKS_SUCCEEDED as TASKS_SUCCEEDED,
    UPLOAD_SECONDS as UPLOAD_SECONDS,
    WIRE_BYTES as WIRE_BYTES,
    WORKER_CONCURRENCY as WORKER_CONCURRENCY,
    Metric,
    Unit,
)

if TYPE_CHECKING:
    from pipeline.metrics.sinks.cloudwatch import CloudWatchSink
    from pipeline.metrics.sinks.emf import EmbeddedMetricFormatSink
    from pipeline.metrics.sinks.otel import OpenTelemetrySink

__all__ = [
    "CloudWatchSink",
    "EmbeddedMetricFormatSink",
    "Metric",
    "MetricSink",
    "NullSink",
    "OpenTelemetrySink",
    "Series",
    "Unit",
]

_SINKS = {
    "CloudWatchSink": "pipeline.metrics.sinks.cloudwatch",
    "EmbeddedMetricFormatSink": "pipeline.metrics.sinks.emf",
    "OpenTelemetrySink": "pipeline.metrics.sinks.otel",
}
"""Sinks are imported on first use: each needs a library that the others do not need."""


def __getattr__(name: str) -> Any:
    """Import a sink on first use."""
    if name in _SINKS:
        return getattr(import_module(_SINKS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Metrics of the library.

``table`` defines them, ``recorder`` collects values and emits them in the background, ``sinks`` deliver them
to CloudWatch, to a log or to OpenTelemetry.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.metrics.recorder import (
    EXACT_VALUES,
    LARGEST_VALUE,
    OTHER,
    VALUES_PER_SERIES,
    MetricSink,
    NullSink,
    Recorder,
    Series,
)
from pipeline.metrics.table import (
    BODIES_INLINE,
    DATA_DROPPED,
    DEAD_LETTERS,
    DECODE_SECONDS,
    DUPLICATES_IGNORED,
    ENCODE_SECONDS,
    HEARTBEAT_FAILURES,
    MESSAGES_REJECTED,
    MESSAGES_UNSETTLED,
    METRICS,
    ORPHANS_FOUND,
    PAYLOAD_BYTES,
    PAYLOADS_CORRUPT,
    PAYLOADS_MISSING,
    PAYLOADS_OFFLOADED,
    PAYLOADS_ORPHANED,
    PAYLOADS_RELEASED,
    PAYLOADS_REUSED,
    QUEUE_BACKLOG,
    REHYDRATE_SECONDS,
    RELEASE_LAG_SECONDS,
    RELEASE_SECONDS,
    RUN_SECONDS,
    TASKS_FAILED,
    TASKS_RETRIED,
    TASKS_SUCCEEDED,
    UPLOAD_SECONDS,
    WIRE_BYTES,
    WORKER_CONCURRENCY,
    Metric,
    Unit,
)

if TYPE_CHECKING:
    from pipeline.metrics.sinks.cloudwatch import CloudWatchSink
    from pipeline.metrics.sinks.emf import EmbeddedMetricFormatSink
    from pipeline.metrics.sinks.otel import OpenTelemetrySink

__all__ = [
    "BODIES_INLINE",
    "DATA_DROPPED",
    "DEAD_LETTERS",
    "DECODE_SECONDS",
    "DUPLICATES_IGNORED",
    "ENCODE_SECONDS",
    "EXACT_VALUES",
    "HEARTBEAT_FAILURES",
    "LARGEST_VALUE",
    "MESSAGES_REJECTED",
    "MESSAGES_UNSETTLED",
    "METRICS",
    "ORPHANS_FOUND",
    "OTHER",
    "PAYLOADS_CORRUPT",
    "PAYLOADS_MISSING",
    "PAYLOADS_OFFLOADED",
    "PAYLOADS_ORPHANED",
    "PAYLOADS_RELEASED",
    "PAYLOADS_REUSED",
    "PAYLOAD_BYTES",
    "QUEUE_BACKLOG",
    "REHYDRATE_SECONDS",
    "RELEASE_LAG_SECONDS",
    "RELEASE_SECONDS",
    "RUN_SECONDS",
    "TASKS_FAILED",
    "TASKS_RETRIED",
    "TASKS_SUCCEEDED",
    "UPLOAD_SECONDS",
    "VALUES_PER_SERIES",
    "WIRE_BYTES",
    "WORKER_CONCURRENCY",
    "CloudWatchSink",
    "EmbeddedMetricFormatSink",
    "Metric",
    "MetricSink",
    "NullSink",
    "OpenTelemetrySink",
    "Recorder",
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

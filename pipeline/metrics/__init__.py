"""Metrics of the library.

``table`` defines them, ``recorder`` collects values and emits them in the background, ``sinks`` deliver them
to CloudWatch, to a log or to OpenTelemetry. ``__all__`` is what is public.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.metrics.recorder import MetricSink, NullSink, Series
from pipeline.metrics.table import Metric, Unit

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

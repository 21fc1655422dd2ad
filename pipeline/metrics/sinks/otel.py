"""Records metrics with OpenTelemetry, whose exporters send them to Prometheus or an OTLP collector.

This module uses only the API; the application chooses SDK, reader and exporter. docs/operate/metrics.md shows
both ways: push from each process, and a Prometheus endpoint.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, get_meter_provider

from pipeline.metrics import Metric, Series, Unit

SCOPE = "claimcheck"
"""Name of the meter, and prefix of all instruments."""

UNITS = {Unit.COUNT: "", Unit.BYTES: "By", Unit.SECONDS: "s"}
"""Units in UCUM. A count has none: Prometheus treats the unit ``1`` as a ratio.
Source: OpenTelemetry, "Semantic conventions, metrics" and "Prometheus compatibility"."""

BOUNDARIES = {
    Unit.SECONDS: (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 43_200.0),
    Unit.BYTES: (1e3, 1e4, 65_536.0, 262_144.0, 1_048_576.0, 1e7, 1e8, 1_073_741_824.0),
}
"""Buckets of histograms; a view may set others. OpenTelemetry's defaults are for milliseconds."""


class OpenTelemetrySink:
    """Adds each batch to instruments of OpenTelemetry. Any process that records; safe after a fork.

    Sizes and durations are histograms, levels gauges, and all else counters; ``queue`` and ``task`` are
    attributes, left out where unknown.

    Args:
        provider: creates the meter provider of this process, at its first batch, on the recorder's thread. So
            each prefork child has its own. It is flushed after each batch, because such a child ends without
            ``atexit``. A process that ends before its first batch should flush its recorder: SDKs start
            threads, and Python starts none at exit. By default the process's global provider is used and
            never flushed, which suits pull readers such as Prometheus's.
    """

    def __init__(self, provider: Callable[[], MeterProvider] | None = None) -> None:
        self._provider_of = provider
        self._pid = 0
        self._flush: Callable[[], object] = _nothing
        self._instruments: dict[Metric, Any] = {}
        self._meter: Meter

    def emit(self, batch: Sequence[Series]) -> None:
        """Record the batch, and flush the provider if this sink created it.

        Raises:
            Exception: any error of ``provider`` or its exporter.
        """
        self._connect()
        for series in batch:
            _add(self._instrument(series.metric), series)
        self._flush()

    def _connect(self) -> None:
        if self._pid == os.getpid():
            return
        provider = self._provider_of() if self._provider_of else get_meter_provider()
        # SDKs have this method, the API does not.
        self._flush = getattr(provider, "force_flush", _nothing) if self._provider_of else _nothing
        self._meter, self._instruments = provider.get_meter(SCOPE), {}
        self._pid = os.getpid()

    def _instrument(self, metric: Metric) -> Any:
        if metric not in self._instruments:
            self._instruments[metric] = _made(self._meter, metric)
        return self._instruments[metric]


def instrument_name(metric: Metric) -> str:
    """Return a metric's name in OpenTelemetry: ``claimcheck.run_seconds`` for ``RunSeconds``."""
    return f"{SCOPE}." + re.sub(r"(?<!^)(?=[A-Z])", "_", metric.name).lower()


def _made(meter: Meter, metric: Metric) -> Any:
    about = {"unit": UNITS[metric.unit], "description": metric.description}
    name = instrument_name(metric)
    if metric.is_level:
        return meter.create_gauge(name, **about)
    if metric.unit is Unit.COUNT:
        return meter.create_counter(name, **about)
    boundaries = BOUNDARIES[metric.unit]
    return meter.create_histogram(name, **about, explicit_bucket_boundaries_advisory=boundaries)


def _add(instrument: Any, series: Series) -> None:
    named = {"queue": series.queue, "task": series.task}
    attributes = {name: value for name, value in named.items() if value}
    if isinstance(instrument, Counter):
        instrument.add(series.total, attributes)
    elif isinstance(instrument, Histogram):
        for value, count in series.values.items():
            for _ in range(count):  # the API has no call for several
                instrument.record(value, attributes)
    else:
        instrument.set(series.last, attributes)


def _nothing() -> None:
    """Do nothing."""

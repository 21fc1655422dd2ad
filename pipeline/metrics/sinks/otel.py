"""Numbers go to OpenTelemetry, and through its exporters to Prometheus, to an OTLP collector, or elsewhere.

Only the API is used here; the application chooses SDK, reader and exporter.
docs/operate/metrics.md has both ways:
push from each process, or a page for Prometheus to scrape.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, get_meter_provider

from pipeline.metrics import Metric, Series, Unit

SCOPE = "claimcheck"
"""Name of the meter, and of all instruments up to the dot."""

UNITS = {Unit.COUNT: "", Unit.BYTES: "By", Unit.SECONDS: "s"}
"""Units as UCUM spells them. A count has none: ``1`` would make a ratio of it.
Source: OpenTelemetry, "Semantic conventions, metrics" and "Prometheus compatibility"."""

BOUNDARIES = {
    Unit.SECONDS: (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 43_200.0),
    Unit.BYTES: (1e3, 1e4, 65_536.0, 262_144.0, 1_048_576.0, 1e7, 1e8, 1_073_741_824.0),
}
"""Buckets of histograms; a reader's view may choose others. OpenTelemetry's own are for milliseconds."""


class OpenTelemetrySink:
    """Adds each batch to instruments of OpenTelemetry. Any process that records; safe after a fork.

    Sizes and durations are histograms, levels gauges, and all else counters; ``queue`` and ``task`` are
    attributes, left out where unknown.

    Args:
        provider: makes the meter provider of this process, at its first batch, on the recorder's thread. So a
            prefork child has one of its own. What it makes is flushed after each batch, since such a child
            ends without ``atexit``. A process that ends before its first batch should flush its recorder
            itself: SDKs start threads, and Python starts none while it exits.
            By default the process's global provider is used, and never flushed: that suits readers that wait
            to be asked, as Prometheus's does.
    """

    def __init__(self, provider: Callable[[], MeterProvider] | None = None) -> None:
        self._provider_of = provider
        self._pid = 0
        self._flush: Callable[[], object] = _nothing
        self._instruments: dict[Metric, Any] = {}
        self._meter: Meter

    def emit(self, batch: Sequence[Series]) -> None:
        """Add the batch, and have it exported if the provider is this sink's own.

        Raises:
            Exception: whatever ``provider`` or its exporter raise.
        """
        self._connect()
        for series in batch:
            _add(self._instrument(series.metric), series)
        self._flush()

    def _connect(self) -> None:
        if self._pid == os.getpid():
            return
        provider = self._provider_of() if self._provider_of else get_meter_provider()
        # The API has no such method: SDKs do.
        self._flush = getattr(provider, "force_flush", _nothing) if self._provider_of else _nothing
        self._meter, self._instruments = provider.get_meter(SCOPE), {}
        self._pid = os.getpid()

    def _instrument(self, metric: Metric) -> Any:
        if metric not in self._instruments:
            self._instruments[metric] = _made(self._meter, metric)
        return self._instruments[metric]


def instrument_name(metric: Metric) -> str:
    """Return a metric's name at OpenTelemetry: ``claimcheck.run_seconds`` for ``RunSeconds``."""
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
            for _ in range(count):  # there is no call for many at once
                instrument.record(value, attributes)
    else:
        instrument.set(series.last, attributes)


def _nothing() -> None:
    """Do nothing."""

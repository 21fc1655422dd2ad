"""Spans and trace context, if the application uses OpenTelemetry; otherwise this module does nothing.

It imports OpenTelemetry only after the application has imported it; the application chooses SDK, sampler and
exporter. Without a tracer provider there are no spans, but an active context is propagated.

Errors of tracing are counted, logged once, and never raised. Attributes follow "Semantic conventions
for messaging" and "for object stores" of OpenTelemetry 1.37 (``messaging.*``, ``aws.s3.*``, ``error.type``);
``messaging.message.id`` is the task id, as in opentelemetry-instrumentation-celery. No attribute, event or
status holds arguments, results or the text of an exception.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from pipeline.telemetry import log_lines
from pipeline.telemetry.log_fields import Headers

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

P = ParamSpec("P")
T = TypeVar("T")
Attributes = Mapping[str, str | int | None]

logger = log_lines.logger(__name__)

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""Names of headers and of S3 metadata. Source: W3C Recommendation "Trace Context"."""

TRACESTATE_CHARACTERS = 512
"""A longer one is not written to S3 metadata, whose limit is 2 KB; vendors must propagate at least this many.
Sources: W3C "Trace Context", 3.3.1.5; S3 User Guide, "Working with object metadata"."""

FLUSH_SECONDS = 2.0
"""How long a pool child waits at its end for the export of its last spans."""

_SYSTEMS = {"sqs": "aws_sqs", "amqp": "rabbitmq", "py-amqp": "rabbitmq"}

failures = 0
"""Errors of tracing in this process."""

broker = ""
"""The broker as ``messaging.system``; see :func:`note_broker`."""


class _Open(NamedTuple):
    span: "Span"
    token: "Token[Context]"


class _Run(NamedTuple):
    task_id: str
    opened: _Open | None
    carrier: dict[str, str]
    """Trace context of its message."""


_runs: ContextVar[tuple[_Run, ...]] = ContextVar("claimcheck_runs", default=())
"""Running tasks of this thread or greenlet; the last is the innermost."""


def _never_raises(function: Callable[P, T]) -> Callable[P, T | None]:
    """Skip a function if OpenTelemetry is not loaded, and suppress its errors."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T | None:
        if "opentelemetry.trace" not in sys.modules:
            return None
        try:
            return function(*args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - exporters and samplers may raise any error
            _count_failure(exc)
            return None

    return run


def _count_failure(exc: Exception) -> None:
    global failures  # noqa: PLW0603 - for the whole process
    failures += 1
    if failures == 1:
        logger.warning("tracing failed, spans are missing; logged once: %r", exc)


def _tracer() -> "Tracer | None":
    """Return a tracer, if the application has set a provider."""
    from opentelemetry import trace  # noqa: PLC0415 - loaded by the application already

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider.get_tracer("claimcheck")


@_never_raises
def is_on() -> bool:
    """Return whether this process makes spans; None means no."""
    return _tracer() is not None


def note_broker(driver_type: str) -> None:
    """Store the broker of the process, by Kombu's transport name."""
    global broker  # noqa: PLW0603 - one broker for each process, as one claim check
    broker = _SYSTEMS.get(driver_type, driver_type)


@contextmanager
def span(name: str, attributes: Attributes) -> Iterator[None]:
    """Make a span around a ``with`` block, below the active one. Errors of the block are raised."""
    opened = _begin(name, attributes, None, "INTERNAL")
    try:
        yield
    except BaseException as exc:
        _fail(opened, exc)
        raise
    finally:
        _end(opened)


@_never_raises
def _begin(name: str, attributes: Attributes, parent: "Context | None", kind: str) -> _Open | None:
    from opentelemetry import context, trace  # noqa: PLC0415

    tracer = _tracer()
    if tracer is None:
        return None
    begun = tracer.start_span(
        name, context=parent, kind=trace.SpanKind[kind], attributes=_attributes(attributes)
    )
    return _Open(begun, context.attach(trace.set_span_in_context(begun, parent)))


@_never_raises
def _fail(opened: _Open | None, error: object) -> None:
    if opened is not None:
        _mark(opened.span, error)


@_never_raises
def _end(opened: _Open | None) -> None:
    from opentelemetry import context  # noqa: PLC0415

    if opened is not None:
        context.detach(opened.token)
        opened.span.end()


def _mark(failed: "Span", error: object) -> None:
    """Mark a span as failed, with only the name of the error's class: its text may contain arguments."""
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    failed.set_attribute("error.type", type(error).__qualname__)
    failed.set_status(StatusCode.ERROR)


def _attributes(attributes: Attributes) -> dict[str, str | int]:
    known = {"messaging.system": broker, **attributes}
    return {name: value for name, value in known.items() if value is not None and value != ""}


@_never_raises
def active() -> dict[str, str]:
    """Return the active context as headers; empty or None if there is none."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def metadata() -> dict[str, str]:
    """Return the active context as metadata of an object."""
    return {name: text for name, text in (active() or {}).items() if len(text) <= TRACESTATE_CHARACTERS}


def trace_headers(headers: Headers) -> dict[str, str]:
    """Return the trace context in a message's headers, which are untrusted."""
    found = {name: headers.get(name) for name in (TRACEPARENT, TRACESTATE)}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def chosen(headers: dict[str, Any], given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Put the active context into the headers of a message that is about to be published.

    Args:
        headers: those of Celery; later instrumentations may overwrite them.
        given: those of the caller, which Celery writes over ``headers``. A trace context in them is kept,
            unless it is the running task's own: ``Task.retry`` copies all of them.

    Returns:
        ``given``, or its replacement.
    """
    carrier = active()
    if not carrier:
        return None if given is None else dict(given)
    theirs = trace_headers(given or {})
    if theirs and not _is_inherited(theirs):
        return dict(given or {})
    headers.update(carrier)
    return {name: value for name, value in (given or {}).items() if name not in {TRACEPARENT, TRACESTATE}}


def _is_inherited(carrier: Mapping[str, str]) -> bool:
    runs = _runs.get()
    return bool(runs) and runs[-1].carrier.get(TRACEPARENT) == carrier.get(TRACEPARENT)


def begin_run(request: Headers, name: str, attributes: Attributes) -> None:
    """Begin the span ``run`` of a task, in the process that runs it, below the context of its message.

    If opentelemetry-instrumentation-celery is active, its span is used.
    """
    if "opentelemetry.trace" in sys.modules:
        carrier = trace_headers(request)
        opened = None if _is_instrumented() else _begin(name, attributes, _context_of(carrier), "CONSUMER")
        _runs.set((*_runs.get(), _Run(str(request.get("id")), opened, carrier)))


def end_run(error: BaseException | None, attributes: Attributes) -> None:
    """End the span of the innermost running task."""
    if runs := _runs.get():
        _runs.set(runs[:-1])
        _finish(runs[-1].opened, error, attributes)
        _end(runs[-1].opened)


@_never_raises
def _finish(opened: _Open | None, error: BaseException | None, attributes: Attributes) -> None:
    if opened is not None:
        opened.span.set_attributes(_attributes(attributes))
        if error is not None:
            _mark(opened.span, error)


def running() -> str:
    """Return the id of the innermost running task, or an empty string."""
    runs = _runs.get()
    return runs[-1].task_id if runs else ""


def _is_instrumented() -> bool:
    """Return whether opentelemetry-instrumentation-celery makes spans."""
    module = sys.modules.get("opentelemetry.instrumentation.celery")
    instrumentor = getattr(module, "CeleryInstrumentor", None)
    return bool(instrumentor and instrumentor().is_instrumented_by_opentelemetry)


@_never_raises
def _context_of(carrier: Mapping[str, str]) -> "Context | None":
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract(carrier) if carrier else None


@_never_raises
def record(
    name: str, spans: Iterable[tuple[Mapping[str, str], Attributes]], begun_ns: int, error: object = None
) -> None:
    """Make spans for one finished call that handled many messages, one below each context."""
    tracer, now = _tracer(), time_ns()
    if tracer is None:
        return
    for carrier, attributes in spans:
        parent = _context_of(carrier)
        made = tracer.start_span(name, parent, attributes=_attributes(attributes), start_time=begun_ns)
        if error is not None:
            _mark(made, error)
        made.end(now)


def flush() -> None:
    """Export the last spans before a pool child ends, which skips ``atexit``. Bounded."""
    if "opentelemetry.trace" in sys.modules:
        thread = threading.Thread(target=_flush, name="claimcheck-spans", daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)


@_never_raises
def _flush() -> None:
    from opentelemetry import trace  # noqa: PLC0415

    force_flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if force_flush is not None:
        force_flush(int(FLUSH_SECONDS * 1_000))

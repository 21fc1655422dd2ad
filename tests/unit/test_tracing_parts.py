"""Trace context on its way through headers and metadata, and what happens without OpenTelemetry."""

import subprocess
import sys

import pytest

from pipeline.claimcheck.claim import Inline
from pipeline.telemetry import log_fields, tracing

PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"

UNTRACED = """
import sys
from celery import Celery
import pipeline
from pipeline.telemetry import tracing
app = Celery("sample_app", broker="memory://")
pipeline.install(app, store="memory://claims", threshold_bytes=0)
@app.task
def echo(value):
    return value
echo.delay([1])
with tracing.span("nothing", {}):
    tracing.begin_run({}, "run", {})
    tracing.end_run(None, {})
tracing.record("nothing", [({}, {})], 0)
tracing.flush()
assert not tracing.is_on()
assert tracing.metadata() == {} and tracing.running() == ""
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""

UNSET = """
import sys
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from pipeline.telemetry import tracing
assert not tracing.is_on()
with tracing.span("nothing", {}):
    assert tracing.metadata() == {}
context = SpanContext(int("ab" * 16, 16), int("cd" * 8, 16), True, TraceFlags(1))
with use_span(NonRecordingSpan(context)):
    headers = {}
    tracing.chosen(headers, None)
    assert headers == {"traceparent": sys.argv[1]}, headers
    assert tracing.metadata() == headers
assert tracing.failures == 0
"""


@pytest.mark.parametrize("program", [UNTRACED, UNSET], ids=["not loaded", "no provider"])
def test_nothing_happens_without_a_provider(program):
    """Without a provider there are no spans, and without OpenTelemetry nothing of it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", program, PARENT], check=False, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, {}),
        (
            {"traceparent": PARENT, "tracestate": "a=b", "id": "1"},
            {"traceparent": PARENT, "tracestate": "a=b"},
        ),
        ({"traceparent": 7, "tracestate": ["a"]}, {}),
    ],
)
def test_only_texts_are_carried(headers, found):
    """Headers may hold anything; what is no text is no context."""
    assert tracing.trace_headers(headers) == found


@pytest.mark.parametrize(
    ("headers", "trace_id"),
    [({"traceparent": PARENT}, "ab" * 16), ({"traceparent": "nonsense"}, None), ({"traceparent": 7}, None)],
)
def test_facts_of_a_message(headers, trace_id):
    """A line says what the headers say, and None where they say nothing or nonsense."""
    assert log_fields.of_message({"id": "1", "task": "t", **headers}, "q") == {
        "task_id": "1",
        "task_name": "t",
        "queue": "q",
        "attempt": 0,
        "trace_id": trace_id,
    }


def test_facts_of_an_inline_payload():
    """A body that travels inline has a size, and no key."""
    sealed = Inline(data=b"12", codec="msgpack", compression="none", expanded_bytes=2)

    assert log_fields.of_payload(sealed) == {"claim_key": None, "payload_bytes": 2, "stored_bytes": None}
    assert log_fields.of_payload(None) == {"claim_key": None, "payload_bytes": None, "stored_bytes": None}


def test_what_a_block_raises_goes_through():
    """A span changes nothing about the error of what it is around."""
    with pytest.raises(KeyError, match="mine"), tracing.span("nothing", {}):
        raise KeyError("mine")

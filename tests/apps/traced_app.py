"""The sample, traced: spans go to a file as lines of JSON, log lines are JSON as in docs/operate/tracing.md.

Run as a program, it is a producer: it calls one task, inside a span if one is given, and prints its id.
"""

import json
import logging
import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path

from celery.signals import after_setup_logger
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler


class Broken(Sampler):
    """A sampler that always fails."""

    def should_sample(self, *args, **kwargs):
        raise RuntimeError("broken sampler")

    def get_description(self):
        return "broken"


MODES = os.environ.get("TRACED", "").split()
"""``batch``: export by and by; ``broken``: fail at every span; ``celery``: with Celery's instrumentation."""

ROOT = Path(__file__).parents[2]
_spans = open(os.environ["TRACED_SPANS"], "a", buffering=1)  # noqa: SIM115, PTH123 - as long as the process
_exporter = ConsoleSpanExporter(out=_spans, formatter=lambda span: span.to_json(indent=None) + "\n")
provider = TracerProvider(sampler=Broken() if "broken" in MODES else ALWAYS_ON)
if "batch" in MODES:
    provider.add_span_processor(BatchSpanProcessor(_exporter, schedule_delay_millis=600_000))
else:
    provider.add_span_processor(SimpleSpanProcessor(_exporter))
trace.set_tracer_provider(provider)
if "celery" in MODES:
    from opentelemetry.instrumentation.celery import CeleryInstrumentor

    CeleryInstrumentor().instrument()

_page = (ROOT / "docs/operate/tracing.md").read_text()
[_recipe] = re.findall(r"```python\n(.*?)```", _page, re.DOTALL)
exec(_recipe)  # our own page, so that what it says is what works

from sample_app import app  # noqa: E402 - after the provider, as an application's own would be

__all__ = ["app"]


def call(name, args, options, span):
    """Call a task, and print its id."""
    tracer = trace.get_tracer("producer")
    with tracer.start_as_current_span(span) if span else nullcontext():
        print(app.tasks[name].apply_async(args, **options).id)  # noqa: T201 - for the test


if __name__ == "__main__":
    logging.basicConfig(level="INFO", stream=sys.stderr)
    after_setup_logger.send(sender=None, logger=logging.getLogger())
    call(*json.loads(sys.argv[1]))

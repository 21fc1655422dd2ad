"""What is recorded of handles: metrics, spans, and why a payload is gone."""

import json
from dataclasses import replace

import pytest
from handles import BIG
from programs import printed_by

import pipeline
from pipeline.claimcheck import installed, ledger
from pipeline.errors import PayloadMissingError
from pipeline.metrics import table as metrics

SPANS = """
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from celery import Celery
import pipeline

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
pipeline.install(Celery("shop", broker="memory://"), store="memory://claims")
handle = pipeline.put(b"confidential", name="confidential")
handle.load()
with TemporaryDirectory() as folder:
    handle.download(Path(folder) / "x")
handle.open().read()
pipeline.shared(["confidential"], uses=2).handle.load()
handle.delete()
try:
    handle.load()
except pipeline.PayloadMissingError:
    pass
print(json.dumps([json.loads(span.to_json()) for span in exporter.get_finished_spans()]))
"""


@pytest.fixture
def measured(claimcheck, recorder):
    """A claim check whose metrics the test reads."""
    made = replace(claimcheck, recorder=recorder)
    installed.install(made)
    return made


def test_a_handle_is_measured(measured, recorder, sink, tmp_path):
    """Each store, read and delete of a handle is recorded, with its bytes."""
    handle = measured.put(BIG)
    handle.load()
    handle.download(tmp_path / "big")
    with handle.open() as file:
        file.read(10)
    b"".join(handle.chunks())
    handle.delete()
    recorder.flush()

    assert sink.total(metrics.PAYLOADS_OFFLOADED) == sink.count(metrics.UPLOAD_SECONDS) == 1
    assert sink.total(metrics.HANDLE_STORED_BYTES) == len(BIG)
    assert sink.count(metrics.REHYDRATE_SECONDS) == 2
    assert sink.total(metrics.HANDLE_READ_BYTES) == 3 * len(BIG) + 256 * 1024
    assert sink.total(metrics.PAYLOADS_RELEASED) == 1


def test_nothing_is_measured_of_what_failed(measured, recorder, sink):
    """A source that breaks off stores nothing, and its bytes do not count."""

    def broken():
        yield b"some"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        measured.put(broken())
    recorder.flush()

    assert sink.series == []


def test_a_handle_has_spans():
    """Puts, loads and downloads are spans with the key, and without a name or content."""
    spans = json.loads(printed_by(SPANS).splitlines()[-1])
    names = [span["name"].removeprefix("claimcheck ") for span in spans]

    assert names == ["offload", "rehydrate", "rehydrate", "offload", "rehydrate", "rehydrate"]
    assert len({span["attributes"]["claimcheck.key"] for span in spans[:3]}) == 1
    assert spans[1]["attributes"]["claimcheck.stored_bytes"] == len("confidential")
    assert spans[-1]["attributes"]["error.type"] == "PayloadMissingError"
    assert "confidential" not in str(spans)


@pytest.mark.parametrize("read", ["load", "open", "chunks", "download"])
def test_uses_that_have_run_out_are_explained(claimcheck, tmp_path, read):
    """Whoever reads a handle that more tasks used than its uses say is told so, and what to do."""
    handle = claimcheck.put(b"x", uses=2)
    ledger.mark(claimcheck, {handle.key: [ledger.member("one"), ledger.member("other")]})
    reads = {
        "load": handle.load,
        "open": lambda: handle.open().read(),
        "chunks": lambda: list(handle.chunks()),
        "download": lambda: handle.download(tmp_path / "x"),
    }

    with pytest.raises(PayloadMissingError, match=r"all of its uses=2 have ended.*count each task"):
        reads[read]()


def test_the_end_of_a_handle_is_explained(claimcheck, others):
    """Without uses, its owner or its class has ended it; of the objects of others nothing is known."""
    handle = claimcheck.put(b"x", ttl_days=30)
    handle.delete()

    with pytest.raises(PayloadMissingError, match="its owner deleted it, or its ttl_days=30 are over"):
        handle.load()
    with pytest.raises(PayloadMissingError) as caught:
        pipeline.Handle(store="uploads", key="input/a").load()
    assert "ttl_days" not in str(caught.value)

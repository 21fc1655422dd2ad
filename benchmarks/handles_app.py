"""The app of ``benchmarks/handles.py``: a producer that puts a file, and a task that writes it to disk."""

import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Self

from celery import Celery

import pipeline
from benchmarks.memory import peak_bytes, reset_peak, resident_bytes
from pipeline.metrics import NullSink

app = Celery("handles", broker="sqs://", backend=os.environ.get("BENCH_RESULTS"))
app.conf.update(task_default_queue="handles", worker_hijack_root_logger=False)
pipeline.install(app, os.environ["BENCH_STORE"], metrics=NullSink())


class Growth:
    """Peak of resident memory during a ``with`` block, above what it was before, in MiB. Linux only."""

    def __enter__(self) -> Self:
        """Reset the peak."""
        reset_peak()
        self._before, self._start = resident_bytes(), perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Read the peak."""
        self.seconds = perf_counter() - self._start
        self.mib = (peak_bytes() - self._before) / 1024**2


@app.task(name="download")
def download(handle: pipeline.Handle, path: str) -> tuple[float, float]:
    """Write the payload to disk; return growth in MiB and seconds."""
    with Growth() as growth:
        handle.download(path)
    return growth.mib, growth.seconds


@app.task(name="stream")
def stream(handle: pipeline.Handle) -> tuple[float, float]:
    """Read the payload as a file, 64 KiB at a time."""
    with Growth() as growth, handle.open() as file:
        while file.read(65_536):
            pass
    return growth.mib, growth.seconds


def main(path: str, results: str) -> None:
    """Put a file, and have it written and read by a task; print what each took."""
    warm = pipeline.put(b"warm")
    download.delay(warm, results + ".warm").get(timeout=60)
    with Growth() as growth:
        handle = pipeline.put(Path(path))
    print(f"put: {growth.mib:.1f} MiB, {growth.seconds:.1f} s", flush=True)
    mib, seconds = download.delay(handle, results).get(timeout=600)
    print(f"download: {mib:.1f} MiB, {seconds:.1f} s", flush=True)
    mib, seconds = stream.delay(handle).get(timeout=600)
    print(f"open: {mib:.1f} MiB, {seconds:.1f} s", flush=True)
    handle.delete()
    warm.delete()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A file of 5 GB goes from disk through a task to disk: resident growth on either side, and time.

``python -m benchmarks.handles [GB] [FOLDER]``, Linux only; it needs three times the size on disk and five
minutes, so ``make bench`` leaves it out.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep

from pipeline.local import EmbeddedAWS, free_port

BLOCK_BYTES = 8 * 1024**2
ROOT = Path(__file__).parents[1]


def write_file(path: Path, size_bytes: int) -> None:
    """Write a file whose blocks all differ."""
    block = os.urandom(BLOCK_BYTES - 8)
    with path.open("wb") as file:
        for number in range(size_bytes // BLOCK_BYTES):
            file.write(number.to_bytes(8) + block)


@contextmanager
def process(*command: str, environment: dict[str, str]) -> Iterator[None]:
    """Run a Python process until the end of a ``with`` block."""
    running = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment)  # noqa: S603
    try:
        yield
    finally:
        running.terminate()
        running.wait()


def main(gigabytes: str = "5", folder: str | None = None) -> None:
    """Measure, and print what the producer prints."""
    with ExitStack() as stack:
        here = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        source, target = here / "source.bin", here / "target.bin"
        write_file(source, int(float(gigabytes) * 1000**3))
        (here / "results").mkdir()
        port = free_port()
        aws = stack.enter_context(EmbeddedAWS())
        environment = {
            **os.environ,
            **aws.environment(),
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
            "BENCH_STORE": "s3://bucket/claims",
            "BENCH_RESULTS": f"file://{here}/results",
        }
        s3 = ("benchmarks.disk_s3", str(here / "s3"), str(port))
        stack.enter_context(process(*s3, environment=environment))
        sleep(1)
        worker = ("celery", "-A", "benchmarks.handles_app", "-q", "worker", "-P", "prefork", "-c", "1")
        stack.enter_context(process(*worker, "-l", "ERROR", environment=environment))
        command = [sys.executable, "-m", "benchmarks.handles_app", str(source), str(target)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)  # noqa: S603
        print("equal:", filecmp.cmp(source, target, shallow=False))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Cold starts in Lambda: time and memory of new processes that import a handler, beside a bare one."""

import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.measure import markdown

REPETITIONS = 5

MEASURE = """
import re, sys, time
start = time.perf_counter()
exec(sys.argv[1])
seconds = time.perf_counter() - start
print(seconds, re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""
"""Linux's own count of memory: ``getrusage`` adds that of the parent before its ``exec``."""

IMPORTS = {
    "boto3, with a client for S3 and one for SQS": "import boto3; boto3.client('s3'); boto3.client('sqs')",
    "the example's handler": "sys.path.insert(0, 'examples'); import lambda_consumer",
    "the enrichments of a pipe": "sys.path.insert(0, 'examples'); import pipe_enrichment",
}

STORES = {"lambda_consumer": "s3://payloads/shop", "pipe_enrichment": "dynamodb://payloads/orders"}


def measured(source: str) -> tuple[float, float]:
    """Return seconds and KiB of a new process."""
    store = next((url for module, url in STORES.items() if module in source), "")
    variables = {"AWS_DEFAULT_REGION": "eu-west-1", "QUEUE": "shop", "FILES": "s3://files", "STORE": store}
    command = [sys.executable, "-c", MEASURE, source]
    answer = subprocess.run(  # noqa: S603 - this interpreter, and the texts above
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    seconds, kibibytes = map(float, answer.stdout.split())
    return seconds, kibibytes


def rows(repetitions: int) -> Iterator[tuple[str, ...]]:
    """Yield the least of some runs for each import."""
    for label, source in IMPORTS.items():
        runs = [measured(source) for _ in range(repetitions)]
        seconds, kibibytes = (min(each) for each in zip(*runs, strict=True))
        yield label, f"{seconds:.2f} s", f"{kibibytes / 1_024:.0f} MB"


def table(repetitions: int = REPETITIONS) -> str:
    """Return the figures of docs/howto/lambda.md."""
    return markdown(("what is imported", "time", "memory"), rows(repetitions))

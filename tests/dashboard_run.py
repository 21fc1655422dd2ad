"""Nine minutes of two queues with their workers on a stand-in, which docs/images/dashboard.svg shows.

``python tests/dashboard_run.py`` writes docs/images/dashboard.jsonl: what SQS says every 15 seconds, in
place of its own metrics, and the lines of the Embedded Metric Format of all processes.
"""

import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from pipeline.local import EmbeddedAWS

ROOT = Path(__file__).parents[1]
LINES = ROOT / "docs/images/dashboard.jsonl"
MINUTES = 9
PREFIX = "demo-"
SETTINGS = {
    "CLAIMCHECK_STORE": "s3://claimcheck-demo/claims",
    "CLAIMCHECK_METRICS_NAMESPACE": "ClaimCheck/demo",
    "CELERY_QUEUE_NAME_PREFIX": PREFIX,
    "CELERY_WAIT_TIME_SECONDS": "1",
    "DASHBOARD_LINES": str(LINES),
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/apps")]),
}
STATES = {
    "ApproximateNumberOfMessages": "ApproximateNumberOfMessagesVisible",
    "ApproximateNumberOfMessagesNotVisible": "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed": "ApproximateNumberOfMessagesDelayed",
}
"""Metrics of SQS by the attributes that have their values."""


def archive(size_bytes):
    """Return a zip archive of two files with random content."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for name in ("one.bin", "two.bin"):
            made.writestr(name, random.randbytes(size_bytes))
    return content.getvalue()


def read_depths(sqs):
    """Append a line for each queue, as SQS would send it to CloudWatch."""
    for name in (f"{PREFIX}{queue}{suffix}" for queue in ("default", "bulk") for suffix in ("", "-dlq")):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(STATES))["Attributes"]
        values = {STATES[state]: int(value) for state, value in found.items()}
        head = {"Timestamp": int(time.time() * 1_000), "CloudWatchMetrics": [{"Namespace": "AWS/SQS"}]}
        with LINES.open("a") as file:
            file.write(json.dumps({"_aws": head, "QueueName": name, **values}) + "\n")


def publish(minute):
    """Publish as many tasks as that minute's rate: two waves, some bad tasks, and a burst of archives."""
    from tasks.archives import unpack
    from tasks.reports import summarise
    from tasks.samples import sample_report

    for _ in range(round(4 + 3 * math.sin(minute * math.pi / 3))):
        summarise.delay(sample_report(random.choice((50, 500, 5_000))))
    if 4 < minute < 6:
        unpack.delay(archive(400_000))
    if random.random() < 0.1:
        summarise.delay("no report")


def run():
    """Publish for the length of the run, and read the queues."""
    import boto3

    sqs, began, read = boto3.client("sqs"), time.monotonic(), -math.inf
    while (seconds := time.monotonic() - began) < MINUTES * 60:
        publish(seconds / 60)
        if seconds - read >= 15:
            read = seconds
            read_depths(sqs)
        time.sleep(2)


def main():
    """Start a stand-in and two workers, and run."""
    LINES.unlink(missing_ok=True)
    with EmbeddedAWS() as aws:
        os.environ |= aws.environment() | SETTINGS
        sys.path[:0] = SETTINGS["PYTHONPATH"].split(os.pathsep)
        subprocess.run([sys.executable, "-m", "pipeline", "-A", "dashboard_app", "provision"], check=True)
        celery = [sys.executable, "-m", "celery", "-A", "dashboard_app", "worker", "-c", "1", "-Q"]
        workers = [
            subprocess.Popen([*celery, queue, "-n", queue], cwd=ROOT / "tests/apps")
            for queue in ("default", "bulk")
        ]
        import dashboard_app  # noqa: F401 - the tasks are those of this app

        run()
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)


if __name__ == "__main__":
    main()

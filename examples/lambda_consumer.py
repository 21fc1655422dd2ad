"""A consumer in AWS Lambda: the tasks of a Celery app, with a queue as event source.

The queue takes messages such as ``{"s3_key": "large_file.csv"}``, and those of Celery. The function's handler
is ``lambda_consumer.handler``. In its environment are QUEUE, the name of the queue; FILES, where the files
are, such as ``s3://uploads``; and STORE, for large arguments of tasks, such as ``s3://payloads/shop``.
With an event in a file the handler runs without Lambda::

    python lambda_consumer.py lambda_event.json
"""

import csv
import io
import json
import os
import sys
from pathlib import Path

from celery import Celery

import pipeline
from pipeline.aws_lambda import sqs_handler
from pipeline.doors import plain_claims

queue = os.environ["QUEUE"]
app = Celery("shop", broker="sqs://")
app.conf.update(task_acks_late=True, task_default_queue=queue, task_ignore_result=True)
pipeline.install(
    app,
    store=os.environ["STORE"],
    stores={"files": os.environ["FILES"]},
    doors={queue: plain_claims("shop.add_up", store="files")},
)


@app.task(name="shop.add_up", time_limit=20)
def add_up(file, _message):
    """Add up a file that is larger than memory, row by row."""
    with file.open() as content:
        rows = csv.DictReader(io.TextIOWrapper(content))
        report.delay([float(row["amount"]) for row in rows])


@app.task(name="shop.report", time_limit=20)
def report(amounts):
    """Do the business with amounts that may be too many for a message."""
    print(f"{len(amounts)} rows, {sum(amounts):.2f} in all", file=sys.stderr)


handler = sqs_handler(app)  # last, when all tasks are defined

if __name__ == "__main__":
    print(json.dumps(handler(json.loads(Path(sys.argv[1]).read_text()))))

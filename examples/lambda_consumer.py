"""A consumer in AWS Lambda: the tasks of a Celery app, with a queue as event source.

The function's handler is ``lambda_consumer.handler``. Its environment has QUEUE, the name of the queue, and
STORE, such as ``s3://payloads/shop``. With an event in a file it runs without Lambda::

    python lambda_consumer.py event.json
"""

import json
import os
import sys
from pathlib import Path

from celery import Celery

import pipeline
from pipeline.aws_lambda import sqs_handler

app = Celery("shop", broker="sqs://")
app.conf.update(task_acks_late=True, task_default_queue=os.environ["QUEUE"], task_ignore_result=True)
pipeline.install(app, store=os.environ["STORE"])


@app.task(name="shop.report", time_limit=20)
def report(rows):
    """Do the business with rows that are too many for a message."""
    total = sum(row["amount"] for row in rows)
    print(f"{len(rows)} rows, {total} in all", file=sys.stderr)
    return total


handler = sqs_handler(app)  # last, when all tasks are defined

if __name__ == "__main__":
    print(json.dumps(handler(json.loads(Path(sys.argv[1]).read_text()))))

"""Ten tasks get one large argument that is uploaded once; the last end deletes it.

Run it from the root of the repository, with ``python -m examples.shared``: it needs the extra ``local``, and
no AWS account.
"""

import os
import random
import time

import boto3
from celery import Celery, group
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline.local import EmbeddedAWS

TASKS_COUNT = 10

app = Celery("example", broker="sqs://", backend="cache+memory://")
app.conf.broker_transport_options = {"wait_time_seconds": 1}


@app.task(acks_late=True)
def total(rows, column):
    """Add up one column: the task gets the rows themselves."""
    return sum(row[column] for row in rows)


def objects(claimcheck):
    """Say what the store holds."""
    sizes = [found.size_bytes for found in claimcheck.store.list()]
    return f"{len(sizes)} objects, {sum(sizes):,} bytes"


def main():
    """Run the example, and print what happens."""
    numbers = random.Random(1)  # noqa: S311 - no secrets
    rows = [[numbers.random() for _ in range(TASKS_COUNT)] for _ in range(50_000)]
    with EmbeddedAWS() as aws:
        os.environ.update(aws.environment())
        region = {"LocationConstraint": os.environ["AWS_DEFAULT_REGION"]}
        boto3.client("s3").create_bucket(Bucket="shop", CreateBucketConfiguration=region)
        claimcheck = pipeline.install(app, store="s3://shop/claims")

        rows = pipeline.shared(rows, uses=TASKS_COUNT)
        print("uploaded:", objects(claimcheck))
        result = group(total.s(rows, column) for column in range(TASKS_COUNT)).apply_async()
        print("ten tasks are published:", objects(claimcheck))
        with start_worker(app, perform_ping_check=False):
            print("totals:", [round(each) for each in result.get(timeout=60)])
            while list(claimcheck.store.list()):  # until the last message is deleted
                time.sleep(0.1)
        print("left in the store:", objects(claimcheck))


if __name__ == "__main__":
    main()

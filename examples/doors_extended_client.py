"""AWS's SQS Extended Client sends a text of 1 MB, and a task gets it; see docs/howto/doors.

Run it from the root of the repository, with ``python -m examples.doors_extended_client``: it needs the extra
``local``, the package ``amazon-sqs-extended-client``, and no AWS account.
"""

import os
import subprocess
import sys
from time import sleep

import boto3
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline.doors import extended_client
from pipeline.local import EmbeddedAWS

app = Celery("example", broker="sqs://")
app.conf.broker_transport_options = {"wait_time_seconds": 1}
read = []

CLIENT = """
import boto3, sqs_extended_client
sqs = boto3.client("sqs")
sqs.large_payload_support = "orders"
url = sqs.create_queue(QueueName="orders")["QueueUrl"]
for text in ("a small order", "a large order ".ljust(1_000_000, ".")):
    sqs.send_message(QueueUrl=url, MessageBody=text)
"""
"""The sender, in a process of its own: the package replaces boto3's sessions."""


@app.task(name="example.order", shared=False)
def order(text):
    """Note a text, wherever it came from."""
    read.append(f"{text[:13]!r}: {len(text):,} characters")


def main():
    """Run the example, and print what happens."""
    with EmbeddedAWS() as aws:
        os.environ.update(aws.environment())
        s3, region = boto3.client("s3"), os.environ["AWS_DEFAULT_REGION"]
        for bucket in ("claims", "orders"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
        pipeline.install(
            app,
            "s3://claims",
            stores={"orders": "s3://orders"},
            doors={"orders": extended_client("example.order", store="orders", deletes=True)},
        )
        subprocess.run([sys.executable, "-c", CLIENT], check=True)  # noqa: S603 - it is above
        print("objects of the client:", s3.list_objects_v2(Bucket="orders")["KeyCount"])
        with start_worker(app, perform_ping_check=False, queues=["orders"]):
            while s3.list_objects_v2(Bucket="orders")["KeyCount"]:
                sleep(0.1)
        print(*sorted(read), sep="\n")
        print("objects left:", s3.list_objects_v2(Bucket="orders")["KeyCount"])


if __name__ == "__main__":
    main()

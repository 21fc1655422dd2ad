"""A producer without this library sends the key of a file in S3, and a task reads it; see docs/howto/doors.

Run it from the root of the repository, with ``python -m examples.doors_plain_claims``: it needs the extra
``local``, and no AWS account.
"""

import json
import os
from time import sleep

import boto3
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline.doors import plain_claims
from pipeline.local import EmbeddedAWS

app = Celery("example", broker="sqs://")
app.conf.broker_transport_options = {"wait_time_seconds": 1, "max_receive_count": 1}
read = []


@app.task(name="example.add_up", shared=False)
def add_up(handle, message):
    """Add up the numbers of a file."""
    with handle.open() as file:
        total = sum(int(line) for line in file)
    read.append(f"{handle.key}: {total:,} {message['metadata']['unit']}")


def send(url, **message):
    """Send a message as any program would."""
    boto3.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(message))


def main():
    """Run the example, and print what happens."""
    with EmbeddedAWS() as aws:
        os.environ.update(aws.environment())
        s3, region = boto3.client("s3"), os.environ["AWS_DEFAULT_REGION"]
        s3.create_bucket(Bucket="files", CreateBucketConfiguration={"LocationConstraint": region})
        pipeline.install(
            app,
            "s3://files/claims",
            stores={"files": "s3://files/input"},
            doors={"files": plain_claims("example.add_up", store="files")},
        )
        s3.put_object(
            Bucket="files", Key="input/numbers.txt", Body=b"\n".join(b"%d" % n for n in range(1_000))
        )
        url = boto3.client("sqs").create_queue(QueueName="files")["QueueUrl"]
        send(url, s3_key="secrets/key.pem", metadata={"unit": "?"})
        send(url, claim_check="input/numbers.txt", payload_size=3_889, metadata={"unit": "EUR"})
        with start_worker(app, perform_ping_check=False, queues=["files"]):
            while not read:
                sleep(0.1)
        print(*read, sep="\n")
        print(
            "the file is still there:",
            [each["Key"] for each in s3.list_objects_v2(Bucket="files")["Contents"]],
        )


if __name__ == "__main__":
    main()

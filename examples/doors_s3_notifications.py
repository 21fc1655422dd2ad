"""An object is uploaded, S3 notifies a queue, and a task reads the object; see docs/howto/doors.

Run it from the root of the repository, with ``python -m examples.doors_s3_notifications``: it needs the extra
``local``, and no AWS account.
"""

import os
from time import sleep

import boto3
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline.doors import s3_notifications
from pipeline.local import EmbeddedAWS

app = Celery("example", broker="sqs://")
app.conf.broker_transport_options = {"wait_time_seconds": 1}
read = []


@app.task(name="example.count_lines", shared=False)
def count_lines(handle, event):
    """Count the lines of a new object."""
    with handle.open() as file:
        lines = sum(1 for _ in file)
    read.append(f"{event['name']} {handle.key!r}: {lines:,} lines, {handle.size_bytes:,} bytes")


def notify(bucket, queue):
    """Let a bucket send a message to a queue for each new object below input/."""
    boto3.client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": os.environ["AWS_DEFAULT_REGION"]}
    )
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    below = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "input/"}]}}
    target = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": below}
    boto3.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [target]}
    )


def main():
    """Run the example, and print what happens."""
    with EmbeddedAWS() as aws:
        os.environ.update(aws.environment())
        notify("incoming", "uploads")
        pipeline.install(
            app,
            "s3://incoming/claims",
            stores={"uploads": "s3://incoming/input"},
            doors={"uploads": s3_notifications("example.count_lines", store="uploads")},
        )
        s3 = boto3.client("s3")
        s3.put_object(Bucket="incoming", Key="input/this im + age blah.txt", Body=b"a line\n" * 1_000)
        s3.put_object(Bucket="incoming", Key="elsewhere.txt", Body=b"not read")
        with start_worker(app, perform_ping_check=False, queues=["uploads"]):
            while not read:
                sleep(0.1)
        print(*read, sep="\n")


if __name__ == "__main__":
    main()

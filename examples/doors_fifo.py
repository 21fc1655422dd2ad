"""A door of one's own, on a FIFO queue: the readings of each sensor keep their order; see docs/howto/doors.

Run it from the root of the repository, with ``python -m examples.doors_fifo``: it needs the extra ``local``,
and no AWS account.
"""

import os
from collections import defaultdict
from time import sleep

import boto3
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline import MalformedError
from pipeline.doors import TaskCall
from pipeline.local import EmbeddedAWS

app = Celery("example", broker="sqs://")
app.conf.broker_transport_options = {
    "wait_time_seconds": 1,
    "max_receive_count": 1,
    "redelivery_floor_seconds": 0,
}
stored = defaultdict(list)


@app.task(name="example.store", shared=False)
def store(sensor, value):
    """Store a reading."""
    stored[sensor].append(value)


def readings(message):
    """Make a call of a text such as ``kitchen 21.5``; the door of this example."""
    try:
        sensor, value = message.body.split()
        return [TaskCall("example.store", [sensor, float(value)])]
    except ValueError:
        raise MalformedError("expected the name of a sensor and a number") from None


def send(texts):
    """Send readings as a program without Celery would: those of a sensor are a message group."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="readings.fifo")["QueueUrl"]
    for number, text in enumerate(texts):
        group = text.split()[0]
        sqs.send_message(
            QueueUrl=url, MessageBody=text, MessageGroupId=group, MessageDeduplicationId=str(number)
        )


def main():
    """Run the example, and print what happens."""
    with EmbeddedAWS() as aws:
        os.environ.update(aws.environment())
        where = {"LocationConstraint": os.environ["AWS_DEFAULT_REGION"]}
        boto3.client("s3").create_bucket(Bucket="claims", CreateBucketConfiguration=where)
        pipeline.install(app, "s3://claims", doors={"readings.fifo": readings})
        with start_worker(app, perform_ping_check=False, queues=["readings.fifo"]):
            send(["kitchen 21.5", "cellar 9.0", "kitchen warm", "kitchen 21.7", "cellar 9.1", "kitchen 21.9"])
            while sum(map(len, stored.values())) < 5:  # noqa: PLR2004 - one of the six is malformed
                sleep(0.1)
        for sensor, values in sorted(stored.items()):
            print(f"{sensor}: {values}")
        dead = boto3.client("sqs").get_queue_url(QueueName="readings-dlq.fifo")["QueueUrl"]
        letters = boto3.client("sqs").receive_message(QueueUrl=dead)["Messages"]
        print("dead letters:", [each["Body"] for each in letters])


if __name__ == "__main__":
    main()

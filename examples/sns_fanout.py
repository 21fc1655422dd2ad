"""One message of SNS goes to two queues, by filter policies; see docs/howto/doors/sns.md.

Run it from the root of the repository, with ``python -m examples.sns_fanout``: it needs the extra ``local``,
and no AWS account.
"""

import json
import os
from time import sleep

import boto3
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline.doors import sns
from pipeline.events import Topic
from pipeline.local import EmbeddedAWS

app = Celery("example", broker="sqs://")
app.conf.broker_transport_options = {"wait_time_seconds": 1}
done = []

FILTERS = {
    "invoices": {"eventType": ["ORDER_CREATED"]},
    "refunds": {"eventType": ["ORDER_CANCELLED"], "orderValue": [{"numeric": [">", 100]}]},
}


@app.task(name="example.invoice", shared=False)
def invoice(order):
    """Count the lines of an order."""
    done.append(f"invoice for {order['id']}: {len(order['lines']):,} lines")


@app.task(name="example.refund", shared=False)
def refund(order, orderValue):  # noqa: N803 - the attribute's name
    """Refund an order."""
    done.append(f"refund of {order['id']}: {orderValue} EUR")


def subscribe(topic_arn):
    """Make a queue for each filter policy, as an operator would, and return nothing."""
    client = boto3.client("sns")
    for name, policy in FILTERS.items():
        url = boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        found = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        client.subscribe(
            TopicArn=topic_arn,
            Protocol="sqs",
            Endpoint=found["Attributes"]["QueueArn"],
            Attributes={"FilterPolicy": json.dumps(policy)},
        )


def main():
    """Run the example, and print what happens."""
    with EmbeddedAWS() as aws:
        os.environ.update(aws.environment())
        s3, region = boto3.client("s3"), os.environ["AWS_DEFAULT_REGION"]
        s3.create_bucket(Bucket="orders", CreateBucketConfiguration={"LocationConstraint": region})
        doors = {
            "invoices": sns("example.invoice"),
            "refunds": sns("example.refund", attributes=("orderValue",)),
        }
        pipeline.install(app, "s3://orders/claims", doors=doors)
        topic_arn = boto3.client("sns").create_topic(Name="orders")["TopicArn"]
        subscribe(topic_arn)
        topic = Topic(topic_arn, ttl_days=1)
        order = {"id": "order-1", "lines": [{"article": n, "count": 1} for n in range(20_000)]}
        topic.publish(order, {"eventType": "ORDER_CREATED", "orderValue": 250})
        topic.publish({"id": "order-2", "lines": []}, {"eventType": "ORDER_CANCELLED", "orderValue": 50})
        topic.publish({"id": "order-3", "lines": []}, {"eventType": "ORDER_CANCELLED", "orderValue": 250})
        with start_worker(app, perform_ping_check=False, queues=list(FILTERS)):
            while len(done) < 2:  # noqa: PLR2004 - the second order is below the limit of the refunds
                sleep(0.1)
        print(*sorted(done), sep="\n")
        stored = s3.list_objects_v2(Bucket="orders").get("Contents", [])
        print(f"payloads in S3: {len(stored)}, until their lifecycle rule")


if __name__ == "__main__":
    main()

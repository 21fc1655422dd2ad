"""A large event reaches a task through a rule that matches on one of its fields; see docs/howto/doors.

Run it from the root of the repository, with ``python -m examples.eventbridge``: it needs the extra
``local``, and no AWS account.
"""

import json
import os
from time import sleep

import boto3
from celery import Celery
from celery.contrib.testing.worker import start_worker

import pipeline
from pipeline.doors import eventbridge
from pipeline.events import Event, EventBus
from pipeline.local import EmbeddedAWS

app = Celery("example", broker="sqs://")
app.conf.broker_transport_options = {"wait_time_seconds": 1}
done = []


@app.task(name="example.check", shared=False)
def check(order, detail_type):
    """Count the lines of an order."""
    done.append(f"{detail_type} {order['id']}: {len(order['lines']):,} lines, {order['orderValue']:,} EUR")


def make_rule():
    """Send events of large orders to a queue, as an operator would."""
    url = boto3.client("sqs").create_queue(QueueName="large-orders")["QueueUrl"]
    found = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    events = boto3.client("events")
    events.create_event_bus(Name="orders")
    pattern = {"source": ["shop"], "detail": {"orderValue": [{"numeric": [">", 1000]}]}}
    events.put_rule(Name="large", EventBusName="orders", EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": found["Attributes"]["QueueArn"]}
    events.put_targets(Rule="large", EventBusName="orders", Targets=[target])


def order(name, value, lines_count):
    """Return an order."""
    return {"id": name, "orderValue": value, "lines": [{"article": n} for n in range(lines_count)]}


def main():
    """Run the example, and print what happens."""
    with EmbeddedAWS() as aws:
        os.environ.update(aws.environment())
        s3, region = boto3.client("s3"), os.environ["AWS_DEFAULT_REGION"]
        s3.create_bucket(Bucket="orders", CreateBucketConfiguration={"LocationConstraint": region})
        doors = {"large-orders": eventbridge("example.check", fields=("detail_type",))}
        pipeline.install(app, "s3://orders/claims", doors=doors)
        make_rule()
        bus = EventBus("orders", source="shop", keep=("orderValue",))
        orders = [order("order-1", 2_500, 100_000), order("order-2", 50, 100_000), order("order-3", 1_500, 1)]
        bus.put_events([Event("OrderCreated", each) for each in orders])
        with start_worker(app, perform_ping_check=False, queues=["large-orders"]):
            while len(done) < 2:  # noqa: PLR2004 - the rule does not match the second order
                sleep(0.1)
        print(*sorted(done), sep="\n")
        stored = s3.list_objects_v2(Bucket="orders").get("Contents", [])
        print(f"payloads in S3: {len(stored)}, until their lifecycle rule")


if __name__ == "__main__":
    main()

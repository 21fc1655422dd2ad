"""Messages as anybody may write them into a queue: a sound one, and changes that make it something else."""

import json
from base64 import b64encode

DEAD_SOON = {
    "visibility_timeout": 30,
    "wait_time_seconds": 1,
    "polling_interval": 0.1,
    "max_receive_count": 2,
    "redelivery_floor_seconds": 0,
    "redelivery_step_seconds": 1,
}
"""Options of the transport with which a message is a dead letter after two deliveries."""


class Queues:
    """The sample's queue and its dead letters, as SQS sees them."""

    def __init__(self, sample, aws):
        self.aws, self.sqs = aws, aws.client("sqs")
        self.name = sample.queue
        with sample.app.connection_for_write() as connection:
            connection.default_channel._new_queue(self.name)

    def url(self, suffix=""):
        return self.aws.url_of(self.name + suffix)

    def depth(self, suffix=""):
        return sum(self.aws.depth(self.name + suffix))

    def send(self, body):
        self.sqs.send_message(QueueUrl=self.url(), MessageBody=body)

    def send_changed(self, message, *changes):
        """Send a message with changes, in the form that Kombu writes."""
        for change in changes:
            message = change(message)
        self.send(json.dumps(message))

    def message(self, sample, task="digest", *args):
        """Publish a task, take its message off the queue, and return it as Kombu wrote it."""
        getattr(sample, task).delay(*args)
        [sent] = self.sqs.receive_message(QueueUrl=self.url(), WaitTimeSeconds=1)["Messages"]
        self.sqs.delete_message(QueueUrl=self.url(), ReceiptHandle=sent["ReceiptHandle"])
        return json.loads(sent["Body"])


def text(body, **headers):
    """Return a change that replaces a message's body by JSON text, and some of its headers."""

    def change(message):
        properties = {**message["properties"], "body_encoding": None}
        return {
            **message, "body": body, "content-type": "application/json", "content-encoding": "utf-8",
            "headers": {**message["headers"], **headers}, "properties": properties,
        }  # fmt: skip

    return change


def binary(body, content_type="application/x-claimcheck", content_encoding="binary"):
    """Return a change that replaces a message's body by bytes."""
    named = {"content-type": content_type, "content-encoding": content_encoding}
    return lambda message: {**message, **named, "body": b64encode(body).decode()}


def without(name):
    """Return a change that leaves a field out."""
    return lambda message: {key: value for key, value in message.items() if key != name}


def with_(**fields):
    """Return a change that sets fields; dashes are written as underlines."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda message: {**message, **named}


def headers(**some):
    """Return a change that sets headers."""
    return lambda message: {**message, "headers": {**message["headers"], **some}}

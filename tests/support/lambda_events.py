"""Lambda's side of an SQS event source, played for a handler in this process: receive, call, delete."""

import time

SAMPLE = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    "body": "Test message.",
    "attributes": {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
    },
    "messageAttributes": {
        "myAttribute": {
            "stringValue": "myValue",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String",
        }
    },
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
    "awsRegion": "us-east-2",
}
"""A record of AWS's own example of an event. Source: AWS Lambda Developer Guide, "Using Lambda with Amazon
SQS", "Example standard queue message event"."""


class Context:
    """The part of Lambda's context that the handler reads."""

    def __init__(self, seconds=30.0):
        self._ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int(1_000 * (self._ends - time.monotonic()))


def record(message, arn, attributes=()):
    """Return a received message as Lambda hands it to a function."""
    return {
        **SAMPLE,
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {**message["Attributes"], **dict(attributes)},
        "eventSourceARN": arn,
    }


def upper(value):
    """Return a record with its fields' names as SQS itself writes them."""
    return {name[:1].upper() + name[1:]: each for name, each in value.items()}


class EventSource:
    """One queue as the event source of a handler."""

    def __init__(self, aws, queue, handler):
        self._sqs, self._url = aws.client("sqs"), aws.url_of(queue)
        self._arn, self._handler = aws.attributes(queue)["QueueArn"], handler

    def records(self, count=10, wait_seconds=1):
        """Receive messages, and return them as records of an event."""
        answer = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=count, WaitTimeSeconds=wait_seconds,
            AttributeNames=["All"], MessageAttributeNames=["All"],
        )  # fmt: skip
        return [record(message, self._arn) for message in answer.get("Messages", [])]

    def invoke(self, records, seconds=30.0):
        """Call the handler, and return the ids of the messages that it reports as failed."""
        answer = self._handler({"Records": records}, Context(seconds))
        return [each["itemIdentifier"] for each in answer["batchItemFailures"]]

    def deliver(self, seconds=30.0):
        """Receive up to ten messages and invoke once; return how many came, and which have failed."""
        found = self.records()
        return len(found), self.invoke(found, seconds)

"""The sample's dead-letter queue, and ``pipeline dlq`` run in this process."""

import json

from click.testing import CliRunner

from pipeline.cli.main import main

ROWS = [1, 2, 3]


def run(*words, **options):
    """Run the command in this process, and return its exit code and its one JSON object."""
    result = CliRunner().invoke(main, ["-A", "sample_app", "dlq", *words, "--json"], **options)
    return result.exit_code, json.loads(result.stdout or "{}")


def outcome(*words, **options):
    """Run a command about one queue, and return its exit code and what it did there."""
    code, said = run(*words, **options)
    return code, said["queues"][0]


class DeadLetterQueue:
    """A sample's queue with its dead-letter queue, and verbs that move messages between them."""

    def __init__(self, sample, aws, suffix="", name=None):
        self.aws, self.sqs = aws, aws.client("sqs")
        self.name = name or sample.queue
        self.dead_name = f"{self.name.removesuffix(suffix)}-dlq{suffix}"
        fifo = {"FifoQueue": "true"} if suffix else {}
        self.dead_url = aws.queue(self.dead_name, **fifo)
        arn = aws.attributes(self.dead_url)["QueueArn"]
        self.policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
        self.url = aws.queue(self.name, VisibilityTimeout=0, RedrivePolicy=self.policy, **fifo)

    def bury(self):
        """Receive what is on the queue until SQS itself moves it to the dead-letter queue."""
        while self.depth(self.url):
            self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)

    def bury_in_order(self):
        """Send what is on a FIFO queue to the dead-letter queue: moto itself would change the order."""
        found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, AttributeNames=["All"])
        for each in found["Messages"]:
            ids = {name: each["Attributes"][name] for name in ("MessageGroupId", "MessageDeduplicationId")}
            self.sqs.send_message(QueueUrl=self.dead_url, MessageBody=each["Body"], **ids)
        self.sqs.purge_queue(QueueUrl=self.url)

    def depth(self, url):
        return sum(self.aws.depth(url))

    def receive(self, url, **options):
        """Receive one message with all that is known of it, and leave it visible."""
        asked = {"MessageAttributeNames": ["All"], "AttributeNames": ["All"], "VisibilityTimeout": 0}
        return self.sqs.receive_message(QueueUrl=url, **asked, **options).get("Messages", [None])[0]

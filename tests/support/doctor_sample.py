"""A sample with everything that ``pipeline doctor`` checks, and the command run in this process."""

import json
import shlex

from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.serializer import serializer

ARN = "arn:aws:sqs:eu-west-1:123456789012:"
RULE = {"ID": "payloads", "Status": "Enabled", "Filter": {"Prefix": "claims/"}, "Expiration": {"Days": 35}}


def examine():
    """Run the command in this process, and return its exit code and its checks by name."""
    result = CliRunner().invoke(main, ["-A", "sample_app", "doctor", "--json"])
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def sooner(prefix):
    """Return a rule for some objects of a prefix, which ends them after a day."""
    some = {"Prefix": prefix, "Tags": [{"Key": "a", "Value": "b"}]}
    return {**RULE, "ID": "sooner", "Filter": {"And": some}, "Expiration": {"Days": 1}}


def ill(checks):
    return sorted(name for name, check in checks.items() if check["ok"] is False)


class HealthySample:
    """A sample with all that it needs: bucket, lifecycle rule, queue and dead-letter queue."""

    def __init__(self, sample, aws):
        self.sample, self.aws = sample, aws
        self.sqs, self.s3 = aws.client("sqs"), aws.client("s3")
        self.queue = sample.queue
        self.bucket = serializer.installed().store.bucket
        self.dead_url = aws.queue(f"{self.queue}-dlq", MessageRetentionPeriod=14 * 86_400)
        policy = json.dumps({"deadLetterTargetArn": f"{ARN}{self.queue}-dlq", "maxReceiveCount": 5})
        self.url = aws.queue(self.queue, RedrivePolicy=policy, VisibilityTimeout=1_800)
        self.rules(RULE)

    def rules(self, *rules):
        self.s3.put_bucket_lifecycle_configuration(
            Bucket=self.bucket, LifecycleConfiguration={"Rules": list(rules)}
        )

    def change(self, **attributes):
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes=attributes)


def paste(command, aws):
    """Run a command line as a shell and AWS's own program would, which need not be installed."""
    for words in map(shlex.split, command.split(" && ")):
        program, service, call, *options = words
        given = {
            name.removeprefix("--").title().replace("-", ""): text
            for name, text in zip(options[::2], options[1::2], strict=True)
        }
        parameters = {
            name: json.loads(text) if text.startswith("{") else text for name, text in given.items()
        }
        assert program == "aws"
        client = aws.client(service.removesuffix("api"))
        getattr(client, call.replace("-", "_"))(**parameters)


def fix(checks, name, aws):
    paste(checks[name]["command"], aws)
    return examine()[1][name]

"""Deployed functions on a stand-in that executes them: a consumer, and the two enrichments around a bus."""

import json
import os
import random
import re
import subprocess
import sys
from uuid import uuid4

import pytest
from functions import EXAMPLES, ROLE, ROOT, Function
from lambda_events import record
from sample_fixtures import entered
from workers import eventually

from pipeline.aws_lambda.records import Arn

pytestmark = [pytest.mark.aws, pytest.mark.worker]

AMOUNTS = [round(random.uniform(0, 1_000), 9) for _ in range(50_000)]
"""So many that the task that gets them gets a claim."""


@pytest.fixture
def aws(ministack, monkeypatch):
    """AWS on the stand-in that executes functions."""
    return entered(ministack, monkeypatch)


@pytest.fixture
def shop(aws):
    """The consumer's environment: a queue with a dead-letter queue, a large file, a bucket for payloads."""
    dead = f"shop-{uuid4().hex[:8]}-dlq"
    redrive = {"deadLetterTargetArn": aws.attributes(aws.queue(dead))["QueueArn"], "maxReceiveCount": 1}
    queue = dead.removesuffix("-dlq")
    aws.queue(queue, VisibilityTimeout=180, RedrivePolicy=json.dumps(redrive))
    files = aws.bucket()
    rows = "".join(f"{number},{amount}\n" for number, amount in enumerate(AMOUNTS))
    aws.client("s3").put_object(Bucket=files, Key="large_file.csv", Body=f"id,amount\n{rows}")
    return {"QUEUE": queue, "FILES": f"s3://{files}", "STORE": f"s3://{aws.bucket()}/claims"}


def payloads(aws, shop):
    answer = aws.client("s3").list_objects_v2(Bucket=shop["STORE"].split("/")[2])
    return [found["Key"] for found in answer.get("Contents", [])]


def measured(aws, name):
    """Return the queues and tasks that CloudWatch has a metric of."""
    metrics = aws.client("cloudwatch").list_metrics(MetricName=name)["Metrics"]
    return {each["Value"] for metric in metrics for each in metric["Dimensions"]}


@pytest.mark.parametrize(
    ("page", "example"), [("lambda.md", "lambda_consumer.py"), ("pipes.md", "pipe_enrichment.py")]
)
def test_pages_show_the_examples(page, example):
    """The code on the pages is that of the examples, which the tests below run."""
    [shown] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/howto" / page).read_text(), re.DOTALL)

    assert shown in (EXAMPLES / example).read_text()


def test_a_consumer(aws, shop):
    """A file's message runs a task in Lambda, which sends a large argument to another; nothing is left."""
    Function(aws, "lambda_consumer", **shop).consume(shop["QUEUE"])
    sqs, url, dead = aws.client("sqs"), aws.url_of(shop["QUEUE"]), f"{shop['QUEUE']}-dlq"
    sqs.send_message(QueueUrl=url, MessageBody='{"s3_key": "large_file.csv"}')
    sqs.send_message(QueueUrl=url, MessageBody='{"key": "large_file.csv"}')
    eventually(lambda: aws.depth(dead).waiting == 1, 60, "the malformed message is no dead letter")
    eventually(lambda: sum(aws.depth(shop["QUEUE"])) == 0 and not payloads(aws, shop), 60)

    [letter] = sqs.receive_message(QueueUrl=aws.url_of(dead))["Messages"]
    assert letter["Body"] == '{"key": "large_file.csv"}'
    eventually(lambda: {"shop.add_up", "shop.report"} <= measured(aws, "TasksSucceeded"))
    assert aws.client("cloudwatch").list_metrics(MetricName="PayloadsReleased")["Metrics"]


def test_the_consumer_runs_without_lambda(aws, shop):
    """The handler of the same file takes the documented event from a file; its message stays where it is."""
    event = EXAMPLES / "lambda_event.json"
    queue = Arn.of(json.loads(event.read_text())["Records"][0]).name
    aws.queue(queue)
    environment = {**os.environ, **shop, "QUEUE": queue, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(EXAMPLES / "lambda_consumer.py"), str(event)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True, timeout=60)

    assert json.loads(done.stdout) == {"batchItemFailures": []}
    assert len(payloads(aws, shop)) == 1
    assert aws.depth(queue).waiting == 1


ORDER = {"kind": "order", "lines": [random.randbytes(40).hex() for _ in range(2_500)]}
"""Near the 256 KiB that Step Functions takes."""


def pipe(aws, queue, enrichment):
    """Do what a pipe does with one message: receive, enrich, delete; return what its target gets.

    The stand-ins create pipes, and execute none.
    """
    sqs, url = aws.client("sqs"), aws.url_of(queue)
    [message] = eventually(
        lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, AttributeNames=["All"]).get("Messages")
    )
    [found] = enrichment.invoke([record(message, aws.attributes(queue)["QueueArn"])])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def rule(aws, bus, pattern, queue):
    """Let a rule of a bus send what matches to a queue."""
    events = aws.client("events")
    events.put_rule(Name="orders", EventBusName=bus, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": aws.attributes(queue)["QueueArn"]}
    events.put_targets(Rule="orders", EventBusName=bus, Targets=[target])


def test_the_claim_check_around_a_bus(aws):
    """A payload is split off before a bus, where its claim alone travels, and is back for Step Functions."""
    written, processor, bus = f"write-{uuid4().hex[:8]}", f"processor-{uuid4().hex[:8]}", "application"
    aws.queue(written)
    aws.queue(processor)
    aws.client("events").create_event_bus(Name=bus)
    rule(aws, bus, {"detail": {"metadata": {"kind": ["order"]}}}, processor)
    variables = {"STORE": f"dynamodb://{aws.table()}/orders"}
    split = Function(aws, "pipe_enrichment", "split", **variables)
    retrieve = Function(aws, "pipe_enrichment", "retrieve", **variables)
    states = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
    machine = aws.client("stepfunctions").create_state_machine(
        name="processor", definition=json.dumps(states), roleArn=ROLE
    )
    aws.client("sqs").send_message(QueueUrl=aws.url_of(written), MessageBody=json.dumps(ORDER))

    claim = pipe(aws, written, split)
    assert len(json.dumps(claim)) < 1_000
    entry = {"Source": "shop", "DetailType": "order", "Detail": json.dumps(claim), "EventBusName": bus}
    assert aws.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    event = pipe(aws, processor, retrieve)
    started = aws.client("stepfunctions").start_execution(
        stateMachineArn=machine["stateMachineArn"], input=json.dumps([event])
    )
    output = eventually(
        lambda: (
            aws.client("stepfunctions").describe_execution(executionArn=started["executionArn"]).get("output")
        )
    )
    assert json.loads(output) == [event]
    assert (event["detail-type"], event["detail"]) == ("order", ORDER)

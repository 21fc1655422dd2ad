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

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROWS = [{"amount": number, "text": random.randbytes(50).hex()} for number in range(10_000)]

PRODUCER = """
import json, sys
from celery import Celery
import pipeline

app = Celery(broker="sqs://")
app.conf.update(task_default_queue=sys.argv[1])
pipeline.install(app, store=sys.argv[2])
app.send_task("shop.report", [json.load(sys.stdin)])
app.send_task("shop.unknown", [[]])
"""


@pytest.fixture
def aws(ministack, monkeypatch):
    """AWS on the stand-in that executes functions."""
    return entered(ministack, monkeypatch)


@pytest.fixture
def shop(aws):
    """A queue with a dead-letter queue, and a bucket, with the large argument of a task in it."""
    dead = f"shop-{uuid4().hex[:8]}-dlq"
    redrive = {"deadLetterTargetArn": aws.attributes(aws.queue(dead))["QueueArn"], "maxReceiveCount": 1}
    queue = dead.removesuffix("-dlq")
    aws.queue(queue, VisibilityTimeout=180, RedrivePolicy=json.dumps(redrive))
    store = f"s3://{aws.bucket()}/claims"
    return {"QUEUE": queue, "STORE": store}


def produce(shop):
    command = [sys.executable, "-c", PRODUCER, shop["QUEUE"], shop["STORE"]]
    subprocess.run(command, input=json.dumps(ROWS), text=True, check=True, cwd=ROOT, timeout=60)


def objects(aws, shop):
    answer = aws.client("s3").list_objects_v2(Bucket=shop["STORE"].split("/")[2])
    return [found["Key"] for found in answer.get("Contents", [])]


@pytest.mark.parametrize(
    ("page", "example"), [("lambda.md", "lambda_consumer.py"), ("pipes.md", "pipe_enrichment.py")]
)
def test_pages_show_the_examples(page, example):
    """The code on the pages is that of the examples, which the tests below run."""
    [shown] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/howto" / page).read_text(), re.DOTALL)

    assert shown in (EXAMPLES / example).read_text()


def test_a_consumer(aws, shop):
    """A large argument reaches a task in Lambda, which is counted, and nothing is left but a dead letter."""
    Function(aws, "lambda_consumer", **shop).consume(shop["QUEUE"])
    produce(shop)
    dead = f"{shop['QUEUE']}-dlq"
    eventually(lambda: aws.depth(dead).waiting == 1, 60, "the unknown task is no dead letter")

    assert aws.depth(shop["QUEUE"]) == (0, 0, 0)
    assert objects(aws, shop) == []
    metrics = aws.client("cloudwatch").list_metrics()["Metrics"]
    assert {"TasksSucceeded", "PayloadsReleased"} <= {metric["MetricName"] for metric in metrics}


def test_the_consumer_runs_without_lambda(aws, shop, tmp_path):
    """The handler of the same file takes an event from a file, for development."""
    produce(shop)
    queue, arn = aws.url_of(shop["QUEUE"]), aws.attributes(shop["QUEUE"])["QueueArn"]
    answer = aws.client("sqs").receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1, AttributeNames=["All"]
    )
    records = [record(message, arn) for message in answer["Messages"]]
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"Records": records}))
    command = [sys.executable, str(EXAMPLES / "lambda_consumer.py"), str(event)]
    environment = {**os.environ, **shop, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=True, timeout=60)

    [failed] = json.loads(done.stdout)["batchItemFailures"]
    [unknown] = [each for each in records if "shop.unknown" in each["body"]]
    assert failed == {"itemIdentifier": unknown["messageId"]}
    assert "10000 rows, 49995000 in all" in done.stderr
    assert objects(aws, shop) == []


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

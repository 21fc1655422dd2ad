"""The runbooks of docs/operate/incidents: each incident is made, and its page's commands run."""

import json
import os
import shlex
from pathlib import Path

import pytest
from page_steps import Steps
from sample_fixtures import entered
from workers import eventually

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.aws, pytest.mark.worker]

APP = """
import os, time
from tasks.app import app

@app.task(name="tables.convert")
def convert(rows):
    os.kill(os.getpid(), 9)

@app.task(name="tables.fetch")
def fetch(seconds):
    time.sleep(seconds)
"""
"""The application of this repository, with a task that kills its process, and one that hangs."""

SETTINGS = {
    "CLAIMCHECK_STORE": "s3://claimcheck-123456789012-demo/claims",
    "CELERY_QUEUE_NAME_PREFIX": "demo-",
    "CELERY_RESULT_BACKEND": "dynamodb://eu-west-1/claimcheck-results-demo",
    "CELERY_WAIT_TIME_SECONDS": "1",
}
SEND = """
import json, random
from incident_app import app, convert, fetch
from tasks.reports import summarise
rows = [random.Random(n).randbytes(8).hex() for n in range(40_000)]
print(json.dumps([each.id for each in ({calls},)]))
"""


BUCKET = "claimcheck-123456789012-demo"
COMMAND = "pipeline -A incident_app"
POISON = "11f8a2d4-0f3c-4f0e-9f6f-1c7c0f7f2d4e"
MISSING = "a684f227-35e0-4a98-95ae-7ac84ebd73ef"
STUCK = "ed43bff7-3c84-42dc-8650-1fa0cbaf6c08"
KEY = "claims/v1/0a/2026/11/21/4768c6cde6cb1468402398bc31678bfea1ec4cb4"
"""What the pages show in place of this run's."""

EXPIRED = "The security token included in the request is expired"
JSON = json.dumps({"__type": "ExpiredToken", "message": EXPIRED}).encode()
XML = f"<{{0}}><Code>ExpiredToken</Code><Message>{EXPIRED}</Message></{{0}}>"


class Incident:
    """A deployment on a stand-in, and the pages that are tried there."""

    def __init__(self, aws, folder):
        self.aws, self.folder = aws, folder
        (folder / "incident_app.py").write_text(APP)

    def page(self, name, replaced=()):
        """Return the steps of a page, with what stands in for what it shows."""
        app = {"-A tasks.app": "-A incident_app"}
        return Steps(f"operate/incidents/{name}.md", self.folder, replaced=app | dict(replaced))

    def run_page(self, name, replaced=()):
        """Run every command of a page, and compare what each prints."""
        steps = self.page(name, replaced)
        for line, _ in list(steps.commands):
            steps.run(line, None)

    def send(self, *calls):
        """Publish tasks, and return their ids."""
        source = SEND.format(calls=", ".join(calls))
        return json.loads(self.page("poison").python(source))

    def largest(self):
        """Return the key of the largest payload."""
        found = self.aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="claims/v1/")["Contents"]
        return max(found, key=lambda each: each["Size"])["Key"]

    def worker(self):
        """Run a worker with one process for the length of a ``with`` block."""
        return self.page("poison").process("celery -A incident_app worker -l INFO -c 1")

    def bury(self, messages):
        """Make dead letters of messages: SQS does so when it would deliver them once more, minutes later."""
        sqs, dead = self.aws.client("sqs"), self.aws.url_of("demo-default-dlq")
        for message in messages:
            attributes = message.get("MessageAttributes", {})
            sqs.send_message(QueueUrl=dead, MessageBody=message["Body"], MessageAttributes=attributes)
        sqs.purge_queue(QueueUrl=self.aws.url_of("demo-default"))

    def deliver(self, times):
        """Receive every message so often, as workers that are killed do, and return the messages."""
        sqs, url = self.aws.client("sqs"), self.aws.url_of("demo-default")
        for _ in range(times):
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
            for message in answer["Messages"]:
                handle = message["ReceiptHandle"]
                sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        return answer["Messages"]


@pytest.fixture
def incident_on(monkeypatch, tmp_path):
    """Make a deployment with queues and bucket, and without a worker, on a stand-in."""

    def make(server):
        aws = entered(server, monkeypatch)
        for name, value in SETTINGS.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{tmp_path}")
        made = Incident(aws, tmp_path)
        made.page("poison").python(
            "from pipeline.cli.main import main; main(['-A', 'tasks.app', 'provision'])"
        )
        return made

    return make


def test_tasks_that_cannot_run(incident_on, moto):
    """A task that kills its worker, and one whose payload is gone: both are found, explained and given up."""
    incident = incident_on(moto)
    poison, missing = incident.send("convert.delay(rows[:20_000])", "summarise.delay(rows)")
    key = incident.largest()
    incident.aws.client("s3").delete_object(Bucket=BUCKET, Key=key)
    messages = incident.deliver(4)
    with incident.worker() as log:
        eventually(lambda: log().count("task rejected") == 2, 60)
    incident.bury(messages)

    incident.run_page("missing-payload", {MISSING: missing, KEY: key})
    incident.run_page("poison", {POISON: poison})


def test_dead_letters(incident_on, moto):
    """Of many dead letters those run that can, and the rest is given up."""
    incident = incident_on(moto)
    incident.send(
        "app.send_task('tables.gone', queue='default')", "summarise.delay({})", "summarise.delay(rows)"
    )
    incident.bury(incident.deliver(1))

    incident.run_page("dead-letters")


def test_the_store_does_not_answer(incident_on, moto, monkeypatch):
    """The first finding names the store, and queues answer."""
    incident = incident_on(moto)
    incident.send("summarise.delay({})")
    incident.bury(incident.deliver(1))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    incident.run_page("store-outage", {"https://s3.eu-west-1.amazonaws.com": "http://127.0.0.1:9"})


def expire(proxy):
    """Answer every call as AWS does once a session has ended: JSON to SQS, XML to S3 and STS."""
    s3, sts = XML.format("Error").encode(), f"<ErrorResponse>{XML.format('Error')}</ErrorResponse>".encode()
    proxy.fail(lambda request: "x-amz-target" in request.headers, 403, content=JSON)
    proxy.fail("GetCallerIdentity", 403, content=sts)
    proxy.fail(status=400, content=s3)


def test_credentials_have_expired(incident_on, moto, proxy_to, monkeypatch):
    """The first finding names the credentials, and after their renewal tasks go on."""
    incident = incident_on(moto)
    incident.send("summarise.delay({})")
    incident.bury(incident.deliver(1))
    proxy = proxy_to(moto.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    steps = incident.page("expired-credentials")
    expire(proxy)
    steps.run(f"{COMMAND} doctor")
    steps.run("aws sts", 255)
    proxy.heal()
    steps.run("aws sts")
    steps.run(f"{COMMAND} dlq redrive")

    steps.check_all_used()


def test_a_consumer_is_stuck(incident_on, ministack, monkeypatch, tmp_path):
    """What hangs is seen, and ended."""
    incident = incident_on(ministack)
    monkeypatch.setenv("WORKER_ALIVE_FILE", str(tmp_path / "alive"))
    with incident.worker() as log:
        [stuck] = incident.send("fetch.delay(600)")
        eventually(lambda: f"fetch[{stuck}] received" in log())
        incident.run_page("stuck-consumer", {STUCK: stuck, "/tmp/alive": str(tmp_path / "alive")})
        eventually(lambda: f"Terminating {stuck}" in log())


def test_the_bill_rises(incident_on, ministack):
    """What is stored, sent and kept is counted."""
    incident = incident_on(ministack)
    incident.send("summarise.delay(rows)")

    incident.run_page("cost-spike")


def in_shell(steps):
    """Return the page's next command, for a shell that becomes it."""
    return shlex.join(["bash", "-c", f"exec {steps.commands.pop(0)[0]}"])


def test_a_region_is_down(ministack, monkeypatch, tmp_path):
    """A deployment in another region takes over, and what waited in the first one runs when it is back."""
    aws = entered(ministack, monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("CELERY_WAIT_TIME_SECONDS", "1")
    make = f"make --no-print-directory -C {ROOT}"
    steps = Steps("operate/incidents/region-failover.md", tmp_path, replaced={"make ": f"{make} "})
    send = "python -c 'from tasks.demo.one_task import *; print(summarise.delay({}).id)'"
    steps.commands[:0] = [
        (f"{make} deploy-core ID=demo", ""),
        (f"env $({make} env STACK=claimcheck-demo-core) {send}", ""),
    ]
    steps.run("make")
    waits = steps.run("env").split()[-1]
    steps.run("AWS_DEFAULT_REGION")
    assert "s3://claimcheck-" in steps.run("AWS_DEFAULT_REGION")
    with steps.process(in_shell(steps)):
        assert float(steps.run("AWS_DEFAULT_REGION"))
    assert aws.depth("demo-default").waiting == 1
    with steps.process(in_shell(steps)) as log:
        eventually(lambda: f"{waits}] raised" in log(), 60)
    steps.run("env", None)
    steps.run("env", None)

    steps.check_all_used()

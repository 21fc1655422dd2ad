"""Doors of a real worker: S3, SNS, EventBridge and other clients of SQS send, and tasks run."""

import json
import subprocess
import sys

import pytest
from door_sample import behind_doors
from sample_fixtures import cleared
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

DOORS = ("s3", "claims", "extended", "words")
LARGE = 300_000


@pytest.fixture(scope="module")
def standing(ministack, tmp_path_factory):
    """A worker behind four doors, and the buckets that others put objects into."""
    with behind_doors(ministack, tmp_path_factory.mktemp("doors"), DOORS) as sample:
        for bucket in ("uploads", "uploads-large"):
            sample.aws.bucket(bucket)
        yield sample


@pytest.fixture
def sample(standing, ministack, monkeypatch):
    return cleared(standing, ministack, monkeypatch)


def url(sample, door, suffix=""):
    return sample.aws.url_of(f"{sample.queue}-{door}{suffix}")


def send(sample, door, body, **options):
    text = body if isinstance(body, str) else json.dumps(body)
    sample.aws.client("sqs").send_message(QueueUrl=url(sample, door), MessageBody=text, **options)


def depth(sample, door, suffix=""):
    return sum(sample.aws.depth(f"{sample.queue}-{door}{suffix}"))


def arn(sample, door):
    return sample.aws.attributes(f"{sample.queue}-{door}")["QueueArn"]


def put(sample, key, content=b"content"):
    sample.aws.client("s3").put_object(Bucket="uploads", Key=key, Body=content)


def notify(sample, **targets):
    configuration = {name: value for name, value in targets.items() if value is not None}
    sample.aws.client("s3").put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration=configuration
    )


def eventually_noted(sample, *notes):
    eventually(lambda: sorted(sample.notes()) == sorted(notes), message=f"noted: {sample.notes()}")


class TestNotifications:
    """S3 tells of new objects."""

    def test_straight_from_s3(self, sample):
        """An uploaded object becomes a task with its handle; the test event is deleted alone."""
        target = {"QueueArn": arn(sample, "s3"), "Events": ["s3:ObjectCreated:*"]}
        notify(sample, QueueConfigurations=[target])
        put(sample, "input/this im + age blah.txt")
        put(sample, "input/dt=2018-05-04/_SUCCESS", b"")

        eventually_noted(
            sample, "input/this im + age blah.txt content 7 0", "input/dt=2018-05-04/_SUCCESS  0 0"
        )
        eventually(lambda: depth(sample, "s3") == 0)
        assert "message deleted, it holds nothing for a task" in sample.running.text()
        notify(sample)

    def test_through_sns(self, sample):
        """SNS wraps the notification, and the task runs all the same."""
        sns = sample.aws.client("sns")
        topic = sns.create_topic(Name="uploads")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(sample, "s3"))
        notify(sample, TopicConfigurations=[{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}])
        put(sample, "input/over sns")

        eventually_noted(sample, "input/over sns content 7 0")
        notify(sample)

    def test_through_eventbridge(self, sample):
        """A rule sends S3's events to the queue, whose keys are not encoded."""
        events = sample.aws.client("events")
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": ["uploads"]}}}
        events.put_rule(Name="uploads", EventPattern=json.dumps(pattern))
        events.put_targets(Rule="uploads", Targets=[{"Id": "1", "Arn": arn(sample, "s3")}])
        notify(sample, EventBridgeConfiguration={})
        put(sample, "input/over+events bridge")

        eventually_noted(sample, "input/over+events bridge content 7 0")
        notify(sample)


def test_several_records_are_several_tasks(sample):
    """One message with several records is a task for each."""
    names = [f"input/{number}" for number in range(12)]
    for name in names:
        put(sample, name)
    records = [
        {
            "eventName": "ObjectRestore:Completed",
            "s3": {"bucket": {"name": "uploads"}, "object": {"key": name}},
        }
        for name in names
    ]
    send(sample, "s3", {"Records": records})

    eventually_noted(sample, *(f"{name} content 7 0" for name in names))
    eventually(lambda: depth(sample, "s3") == 0)


def test_plain_claims(sample):
    """A message that names a key becomes a task with its handle."""
    put(sample, "input/large_file.csv", b"a,b\n1,2\n")
    send(sample, "claims", {"s3_key": "input/large_file.csv"})

    eventually_noted(sample, "input/large_file.csv a,b", "1,2", " 8 0")


def test_a_malformed_message_is_a_dead_letter(sample):
    """What is no claim goes to the dead-letter queue unchanged; the log and ``dlq show`` say why."""
    body = '{"s3_key": "private/../file"}'
    send(sample, "claims", body)
    eventually(lambda: depth(sample, "claims", "-dlq") == 1)
    shown = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipeline",
            "-A",
            "doors_app",
            "dlq",
            "show",
            f"{sample.queue}-claims",
            "--json",
        ],
        env=sample.environment | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    reason = "malformed: its object is not below the prefix of store 'input'"
    dead = url(sample, "claims", "-dlq")
    [letter] = eventually(
        lambda: sample.aws.client("sqs").receive_message(QueueUrl=dead, VisibilityTimeout=0).get("Messages")
    )

    assert letter["Body"] == body
    assert reason in sample.running.text()
    assert reason in json.loads(shown.stdout)["messages"][0]["error"]
    assert sample.notes() == []


def test_a_door_of_the_application(sample):
    """A function of an application's own makes tasks of words, and one word is a task without a detour."""
    send(sample, "words", "one two")
    send(sample, "words", "three")

    eventually_noted(sample, " one 3 0", " two 3 0", " three 5 0")
    assert sample.running.text().count("claimcheck.split") > 0


CLIENT = """
import boto3, sys, sqs_extended_client
sqs = boto3.client("sqs")
sqs.large_payload_support, sqs.use_legacy_attribute = "uploads-large", sys.argv[3] == "legacy"
for text in sys.argv[2].split(","):
    sqs.send_message(QueueUrl=sys.argv[1], MessageBody=text.ljust(int(sys.argv[4])))
"""


def large_objects(sample):
    return sample.aws.client("s3").list_objects_v2(Bucket="uploads-large").get("Contents", [])


@pytest.mark.parametrize("form", ["legacy", "current"])
def test_the_extended_client_of_python_sends(sample, form):
    """A task gets the text of AWS's own client, small or large, in a retry too; the object is deleted."""
    for size in (10, LARGE):
        subprocess.run(
            [sys.executable, "-c", CLIENT, url(sample, "extended"), "first,again", form, str(size)],
            env=sample.environment,
            check=True,
        )

    eventually_noted(
        sample,
        *(
            f" {text.ljust(min(size, 20))} {size} {attempt}"
            for size in (10, LARGE)
            for text, attempt in [("first", 0), ("again", 0), ("again", 1)]
        ),
    )
    eventually(lambda: not large_objects(sample) and depth(sample, "extended") == 0)
    sample.eventually_empty()


def test_an_object_stays_with_a_message_that_is_not_run(sample):
    """A text that cannot be read is a dead letter, and the object that it points to stays."""
    sample.aws.client("s3").put_object(Bucket="uploads-large", Key="k", Body=b"\xff")
    pointer = [
        "software.amazon.payloadoffloading.PayloadS3Pointer",
        {"s3BucketName": "uploads-large", "s3Key": "k"},
    ]
    size = {"ExtendedPayloadSize": {"DataType": "Number", "StringValue": "1"}}
    send(sample, "extended", pointer, MessageAttributes=size)

    eventually(lambda: depth(sample, "extended", "-dlq") == 1)
    assert [each["Key"] for each in large_objects(sample)] == ["k"]
    sample.aws.client("s3").delete_object(Bucket="uploads-large", Key="k")

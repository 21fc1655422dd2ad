"""Provision and ``claim show``: what is missing is made, and what exists is never touched."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.templates import template
from pipeline import put
from pipeline.claimcheck import ledger
from pipeline.cli.main import main
from pipeline.serializer import serializer
from pipeline.transport.addressing import dead_letter_name

pytestmark = pytest.mark.aws

ROOT = Path(__file__).parents[2]


def run(*words):
    """Run the command in this process, and return its exit code and its one JSON object."""
    result = CliRunner().invoke(main, ["-A", "sample_app", *words, "--json"])
    return result.exit_code, json.loads(result.stdout)


def created(said):
    return [made["kind"] for made in said["made"] if made["created"]]


@pytest.fixture
def empty(sample_of, moto_aws):
    """A sample in an account where nothing is."""
    sample = sample_of(store="s3://shop-claims/claims", options={"threshold_bytes": 0})
    sample.sqs, sample.s3 = moto_aws.client("sqs"), moto_aws.client("s3")
    return sample


def test_what_is_missing_is_made(empty):
    """Bucket, lifecycle rule, queue and dead-letter queue are made, and the doctor finds nothing wrong."""
    code, said = run("provision")
    examined, checks = run("doctor")

    assert (code, created(said)) == (0, ["bucket", "dead-letter queue", "queue"])
    assert (examined, said["lifecycle_command"]) == (0, None)
    assert all(check["ok"] for check in checks["checks"])
    assert empty.digest.delay([1]).id


def test_twice_is_safe(empty):
    """A second run changes nothing, and prints the command for a lifecycle rule that is missing."""
    run("provision")
    empty.s3.delete_bucket_lifecycle(Bucket="shop-claims")
    code, said = run("provision")
    command = run("doctor")[1]["checks"]

    assert (code, created(said)) == (0, [])
    assert said["lifecycle_command"] in [check["command"] for check in command]
    assert said["lifecycle_command"].startswith("aws s3api put-bucket-lifecycle-configuration --bucket shop-")


def test_a_rule_that_may_not_be_written_is_printed(empty, proxy):
    """A lifecycle rule that could not be written is reported with its reason and its command."""
    proxy.fail("PutBucketLifecycleConfiguration", status=403)
    said = run("provision")[1]

    assert created(said) == ["bucket", "dead-letter queue", "queue"]
    assert said["made"][0]["note"].startswith("no lifecycle rule: store denies access")
    assert '"Days": 35' in said["lifecycle_command"]


def test_unreadable_rules_get_no_command(empty, proxy):
    """Lifecycle rules that may not be read get no command to add one."""
    run("provision")
    proxy.fail("GetBucketLifecycleConfiguration", status=403)

    assert run("provision")[1]["lifecycle_command"] is None


def test_what_exists_is_never_touched(empty, moto_aws):
    """An existing queue keeps its attributes, and an existing bucket its lifecycle."""
    name = empty.queue
    url = moto_aws.queue(name, VisibilityTimeout=7)
    empty.s3.create_bucket(
        Bucket="shop-claims", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    rule = {"ID": "mine", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 1}}
    empty.s3.put_bucket_lifecycle_configuration(
        Bucket="shop-claims", LifecycleConfiguration={"Rules": [rule]}
    )
    said = run("provision")[1]
    attributes = moto_aws.attributes(url)

    assert created(said) == []
    assert "no redrive policy" in said["made"][1]["note"]
    assert attributes["VisibilityTimeout"] == "7"
    assert "RedrivePolicy" not in attributes
    kept = empty.s3.get_bucket_lifecycle_configuration(Bucket="shop-claims")["Rules"]
    assert [each["ID"] for each in kept] == ["mine"]


def test_a_dead_letter_queue_that_is_there_is_used(empty, moto_aws):
    """After a break between the two queues, the second run goes on with the first one's."""
    moto_aws.queue(dead_letter_name(empty.queue))

    assert created(run("provision")[1]) == ["bucket", "queue"]


def as_template(rule):
    """Return a rule of S3's API in the words of CloudFormation."""
    known = {
        "Id": rule.pop("ID"),
        "Prefix": {"Fn::Sub": rule.pop("Filter")["Prefix"].replace("claims/", "${Prefix}/", 1)},
        "ExpirationInDays": rule.pop("Expiration")["Days"],
    }
    return known | rule


def test_the_rules_are_the_template_s(empty):
    """The lifecycle rules of a new bucket are those of deploy/core.yaml, in the words of S3's API."""
    shipped = template("core.yaml")["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    run("provision")
    rules = empty.s3.get_bucket_lifecycle_configuration(Bucket="shop-claims")["Rules"]

    assert [as_template(rule) for rule in rules] == shipped


def test_fifo_queues_have_fifo_dead_letters(sample_of, moto_aws):
    """A FIFO queue and its dead-letter queue are both created as FIFO queues."""
    sample_of(store="s3://shop-claims/claims", conf={"task_default_queue": "orders.fifo"})
    said = run("provision")[1]

    assert [made["name"] for made in said["made"]] == ["shop-claims", "orders-dlq.fifo", "orders.fifo"]


def test_predefined_queues_are_not_ours_to_make(sample_of, moto_aws):
    """A predefined queue that does not exist is an error; one that does is left alone."""
    there = moto_aws.queue("there")
    options = {"predefined_queues": {"there": {"url": there}, "gone": {"url": f"{there}-not"}}}
    conf = {"task_default_queue": "there", "broker_transport_options": options}
    sample_of(store="s3://shop-claims/claims", conf=conf)
    code, said = run("provision")

    assert code == 2
    assert "gone is predefined" in said["error"]


def test_a_claim_is_shown(empty):
    """Size and age of the object under a key are shown without reading it."""
    run("provision")
    empty.digest.delay([1, 2, 3])
    [key] = empty.objects()
    code, said = run("claim", "show", key)

    assert (code, said["ours"], said["there"]) == (0, True, True)
    assert said["size_bytes"] > 0
    assert said["age_seconds"] < 60


def test_a_handle_is_shown(empty):
    """The payload of a handle is shown with its TTL class."""
    run("provision")
    code, said = run("claim", "show", put(b"1234", ttl_days=30).key)

    assert (code, said["ours"], said["there"]) == (0, True, True)
    assert (said["size_bytes"], said["ttl_days"]) == (4, 30)


def test_the_uses_of_a_shared_payload_are_shown(empty):
    """How many tasks use a payload, and how many of them have ended, is shown from its ledger."""
    run("provision")
    key = put(b"1234", uses=3).key
    ledger.mark(serializer.installed(), {key: [ledger.member("one"), ledger.member("other")]})
    said = run("claim", "show", key)[1]

    assert (said["there"], said["uses"], said["uses_ended"]) == (True, 3, 2)
    assert run("claim", "show", put(b"1").key)[1]["uses"] is None


def test_a_claim_that_is_gone(empty):
    """A key without an object is a finding."""
    run("provision")
    code, said = run("claim", "show", f"claims/v1/0a/2026/01/31/{'0' * 40}")

    assert (code, said["ours"], said["there"]) == (1, True, False)


def test_a_foreign_key_is_never_looked_up(empty):
    """A key that does not follow the grammar is reported as foreign, without a call of the store."""
    code, said = run("claim", "show", "claims/../secrets.txt")

    assert (code, said["ours"], said["there"]) == (1, False, False)
    assert "expected claims/v1/" in said["error"]
    assert serializer.installed().store.prefix == "claims"


def test_a_bucket_of_another_account_is_not_made(empty, proxy):
    """A bucket that may not be looked at exists, so it is not ours to make."""
    run("provision")
    proxy.fail("HeadBucket", status=403)

    assert created(run("provision")[1]) == []


def test_a_bucket_that_cannot_be_asked_is_an_error(empty, proxy):
    """While S3 does not answer, nothing is made."""
    proxy.fail("HeadBucket", status=503)
    code, said = run("provision")

    assert code == 2
    assert "store unavailable" in said["error"]

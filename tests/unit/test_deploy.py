"""CloudFormation templates and IAM policies, as far as they can be checked without AWS."""

import re

import pytest
from celery import Celery
from stacks import actions_of, looped

from deploy.templates import DEPLOY, template
from pipeline import time_chain
from pipeline.aws.limits import SQS_RETENTION_DEFAULT_SECONDS, SQS_RETENTION_LIMIT_SECONDS
from pipeline.claimcheck.keys import PAYLOADS, RESULTS, TTL_CLASSES_DAYS, handle_folder
from pipeline.options import DAY_SECONDS, Options
from pipeline.stores import store_from_url
from pipeline.stores.dynamodb.items import TTL_ATTRIBUTE, key_of
from settings import QUEUES, CelerySettings, ClaimCheckSettings

CELERY = CelerySettings.model_construct()
"""The defaults, independent of the environment of the tests."""
TEMPLATES = sorted(DEPLOY.glob("*.yaml"))
ROLES = ("Producer", "Worker", "Monitor", "Sweeper", "Gateway")
STORE = store_from_url(ClaimCheckSettings.model_construct().store)


def resources_of(name):
    return template(name)["Resources"]


def test_the_table_is_what_the_store_writes():
    """The template's table has the key of the store's items, and their TTL attribute is on."""
    table = resources_of("table.yaml")["Table"]["Properties"]
    [key], [attribute] = table["KeySchema"], table["AttributeDefinitions"]

    assert {key["AttributeName"]: {attribute["AttributeType"]: "k"}} == key_of("k")
    assert table["TimeToLiveSpecification"] == {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}


def test_payloads_expire_when_the_options_say():
    """Each kind of object has a rule of its own folder, at the age that options and TTL classes state."""
    rules = resources_of("core.yaml")["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    days = {rule["Prefix"]["Fn::Sub"].removeprefix("${Prefix}/"): rule["ExpirationInDays"] for rule in rules}

    for folder in (PAYLOADS, "once/", "revoked/"):
        assert days.pop(folder) * DAY_SECONDS == Options().payload_ttl_seconds
    assert days.pop(RESULTS) * DAY_SECONDS == time_chain.result_seconds(Celery("settings").conf, 0)
    assert days == {handle_folder(days): days for days in TTL_CLASSES_DAYS}
    for rule in rules:
        assert rule["Status"] == "Enabled"
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_the_bucket_is_private():
    """The bucket is closed to the public, to other owners and to plain HTTP, and encrypts."""
    found = resources_of("core.yaml")
    bucket = found["Bucket"]["Properties"]
    [statement] = found["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["BucketKeyEnabled"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_what_holds_messages_and_payloads_stays():
    """When the stack is gone, the bucket and its policy are still there, and so are the queues."""
    found = resources_of("core.yaml")
    for resource in (found["Bucket"], found["BucketPolicy"], *looped("core.yaml", "Queues").values()):
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_queues_keep_the_time_chain():
    """Each queue has the times that the time chain assumes, and a dead-letter queue."""
    live, dead = (
        looped("core.yaml", "Queues")[f"{kind}${{Name}}"]["Properties"] for kind in ("Queue", "Dead")
    )

    assert (
        template("core.yaml")["Parameters"]["VisibilityTimeoutSeconds"]["Default"]
        == CELERY.visibility_timeout
    )
    assert live["ReceiveMessageWaitTimeSeconds"] == CELERY.wait_time_seconds
    assert live["MessageRetentionPeriod"] == SQS_RETENTION_DEFAULT_SECONDS
    assert live["RedrivePolicy"]["maxReceiveCount"] == 5
    assert dead["MessageRetentionPeriod"] == SQS_RETENTION_LIMIT_SECONDS
    for properties in (live, dead):
        assert properties["MaximumMessageSize"] == Options().broker_limit_bytes
        assert properties["SqsManagedSseEnabled"] == {"Fn::If": ["WithKms", {"Ref": "AWS::NoValue"}, True]}
        assert properties["KmsMasterKeyId"] == {
            "Fn::If": ["WithKms", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]
        }


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_parameters_are_those_of_all_templates(path):
    """A parameter has the same default in each template, and the queues are those of the settings."""
    parameters = template(path.name)["Parameters"]

    for name, default in {
        "DeploymentId": "demo",
        "QueueNames": ",".join(QUEUES),
        "Prefix": STORE.prefix,
    }.items():
        assert parameters.get(name, {"Default": default})["Default"] == default
    assert "DeploymentId" in parameters or path.stem in {"alarms", "table"}


@pytest.mark.parametrize("role", ROLES)
def test_permissions_are_explained(role):
    """A role allows the actions that the page explains for it, and no other."""
    rows = re.findall(r"^\| `(\w+:\w+)` \| ([^|]+) \|", (DEPLOY / "README.md").read_text(), re.MULTILINE)

    assert actions_of(role) == {action for action, roles in rows if role.lower() in roles}


NOT_ROWS = {"README.md", "__pycache__"}


def test_every_file_is_explained():
    """The page has a row for each file beside it."""
    page = (DEPLOY / "README.md").read_text()

    assert all(f"| [`{path.name}`](" in page for path in DEPLOY.iterdir() if path.name not in NOT_ROWS)

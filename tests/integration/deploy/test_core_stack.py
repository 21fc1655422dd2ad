"""What ``deploy/core.yaml`` makes on a stand-in is what the application needs, by its output alone."""

import json

import pytest
from sample_fixtures import entered
from stacks import Deployment, keys, process
from workers import eventually

from settings import QUEUES

pytestmark = [pytest.mark.aws, pytest.mark.worker]


@pytest.fixture
def deployment(ministack, monkeypatch):
    """A deployment on the one stand-in that has CloudFormation's language extensions."""
    return Deployment(entered(ministack, monkeypatch))


def test_a_task_runs_on_the_stack(deployment, tmp_path):
    """The documented commands lead from an empty account to the result of a task, and leave no payload."""
    deployment.make("deploy-core")
    settings = deployment.settings() | {"CELERY_WAIT_TIME_SECONDS": "1"}
    bucket = deployment.resources()["Bucket"]
    with process("celery -A tasks.app worker -P threads -c 1 -Q default -l INFO", settings, tmp_path):
        assert float(deployment.make("task")) > 0
        eventually(lambda: keys(deployment.aws, bucket) == [])


def test_deployments_share_an_account(deployment):
    """Two deployments have no resource in common, and each queue its dead-letter queue."""
    other = Deployment(deployment.aws)
    for each in (deployment, other):
        each.make("deploy-core")

    assert not set(deployment.resources().values()) & set(other.resources().values())
    for queue in QUEUES:
        redrive = deployment.aws.attributes(f"{deployment.id}-{queue}")["RedrivePolicy"]
        assert json.loads(redrive)["deadLetterTargetArn"].endswith(f":{deployment.id}-{queue}-dlq")

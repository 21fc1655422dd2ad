"""The manifests of ``deploy/kubernetes``, as far as they can be checked without a cluster."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from schemas import validator

from pipeline.worker.liveness import VARIABLE
from settings import QUEUES, CelerySettings, ClaimCheckSettings

ROOT = Path(__file__).parents[2]
OBJECTS = [
    each
    for path in sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
    for each in yaml.safe_load_all(path.read_text())
]
KEDA = yaml.safe_load((ROOT / "tests/support/keda_v1alpha1.yaml").read_text())
CELERY = CelerySettings.model_construct()


def of_kind(kind):
    return [each for each in OBJECTS if each["kind"] == kind]


@pytest.mark.parametrize("found", OBJECTS, ids=lambda found: f"{found['kind']}-{found['metadata']['name']}")
def test_manifests_follow_the_schema(found):
    """Each object is valid under the schema of Kubernetes or KEDA, which allow no unknown field."""
    from kubernetes_validate import validate  # imports jsonschema, which compiles grammars for a second

    if found["apiVersion"] == "keda.sh/v1alpha1":
        validator(KEDA[found["kind"]])(found)
    else:
        validate(found, "1.33", strict=True)


def test_each_queue_has_a_deployment_that_keda_scales():
    """Each queue has one deployment, and a scaler of its own backlog, down to no worker."""
    deployments = {each["metadata"]["name"]: each for each in of_kind("Deployment")}
    scalers = {each["spec"]["scaleTargetRef"]["name"]: each["spec"] for each in of_kind("ScaledObject")}
    prefix = of_kind("ConfigMap")[0]["data"]["CELERY_QUEUE_NAME_PREFIX"]

    assert deployments.keys() == scalers.keys() == {f"worker-{queue}" for queue in QUEUES}
    for queue in QUEUES:
        command = deployments[f"worker-{queue}"]["spec"]["template"]["spec"]["containers"][0]["command"]
        [trigger] = scalers[f"worker-{queue}"]["triggers"]
        assert command[command.index("-Q") + 1] == queue
        assert (trigger["type"], trigger["metadata"]["queueURL"]) == ("aws-sqs-queue", f"{prefix}{queue}")
        assert scalers[f"worker-{queue}"]["minReplicaCount"] == 0
        assert "replicas" not in deployments[f"worker-{queue}"]["spec"]


@pytest.mark.parametrize("queue", QUEUES)
def test_workers_may_finish_what_they_run(queue):
    """A worker is not killed before its task's hard time limit and the hook before it."""
    [found] = [each for each in of_kind("Deployment") if each["metadata"]["name"] == f"worker-{queue}"]

    assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > CELERY.task_time_limit + 30


def test_settings_are_known():
    """The settings of the pods are ones that settings.py, boto3 or the health check read."""
    known = {f"CELERY_{field}".upper() for field in CelerySettings.model_fields}
    known |= {f"CLAIMCHECK_{field}".upper() for field in ClaimCheckSettings.model_fields}

    assert of_kind("ConfigMap")[0]["data"].keys() <= known | {"AWS_DEFAULT_REGION"}
    for each in of_kind("Deployment"):
        [container] = each["spec"]["template"]["spec"]["containers"]
        assert [variable["name"] for variable in container["env"]] == [VARIABLE]


def test_probes_ask_the_worker(tmp_path):
    """The liveness probe passes with a file that is just touched, and fails with none."""
    [container] = of_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"]
    probe = json.loads(
        json.dumps(container["livenessProbe"]["exec"]["command"]).replace("/tmp", str(tmp_path))
    )

    assert subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode == 1
    (tmp_path / "alive").touch()
    assert subprocess.run(probe, check=False).returncode == 0

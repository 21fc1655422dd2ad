"""Each role may do what its processes do, and nothing else: their calls are recorded, and compared."""

import json
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from permissions import grants, is_for, uses
from programs import on_path
from sample_fixtures import entered
from stacks import ROOT, Deployment, process
from workers import APPS, SUPPORT

from benchmarks.proxy import Proxy
from pipeline.local import environment, free_port
from settings import QUEUES
from tasks.demo.doors.client import Client

pytestmark = [pytest.mark.aws, pytest.mark.worker]

TOKEN = "a-token-of-some-length"
HANDLE = f"claims/handles/1d/v1/00/{datetime.now(UTC):%Y/%m/%d}/{'0' * 40}"
ROLES = ("Producer", "Worker", "Monitor", "Sweeper", "Gateway")
BY_S3 = {("Worker", "s3:ListBucket")}
"""Not called: S3 asks for it, to answer 404 for a missing object and not 403."""
REJECTED = b'{"__type": "com.amazonaws.sqs#InvalidMessageContents", "message": "no"}'


@pytest.fixture(scope="module")
def recorded(ministack, tmp_path_factory):
    """Grants and uses of each role, after every process has done all that it can."""
    tmp_path = tmp_path_factory.mktemp("roles")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        deployment = Deployment(entered(ministack, patch))
        deployment.make("deploy-core")
        _switch_on_expiry(deployment)
        proxies = {role: stack.enter_context(Proxy(ministack.url)) for role in ROLES}
        _act(deployment, proxies, tmp_path)
        yield {
            role: (grants(deployment.aws, f"claimcheck-{role}-{deployment.id}"), uses(proxy))
            for role, proxy in proxies.items()
        }


def _switch_on_expiry(deployment):
    """Do what the template says and the stand-in leaves out; Celery's backend would do it otherwise."""
    table = deployment.resources()["Results"]
    expiry = {"Enabled": True, "AttributeName": "ttl"}
    deployment.aws.client("dynamodb").update_time_to_live(TableName=table, TimeToLiveSpecification=expiry)


def _act(deployment, proxies, tmp_path):
    settings = deployment.settings() | {
        "CELERY_WAIT_TIME_SECONDS": "1",
        "CELERY_VISIBILITY_TIMEOUT": "20",
        "PYTHONPATH": f"{ROOT}:{APPS}",
        "UPLOADS_STORE": f"s3://{_uploads(deployment)}/input",
        "UPLOADS_TOKENS": json.dumps({TOKEN: "ada"}),
        "UPLOADS_MEDIA_TYPES": '["text/csv"]',
    }
    places = {role: settings | environment(proxy.url) for role, proxy in proxies.items()}
    worker = "celery -A deployed_app worker -P threads -c 2 -l INFO --without-gossip --without-mingle"
    with process(worker, places["Worker"], tmp_path):
        for role, part in (("Monitor", "monitor"), ("Producer", "producer")):
            _run([sys.executable, str(SUPPORT / "role_processes.py"), part], places[role])
        proxies["Producer"].fail("SendMessage", status=400, content=REJECTED)
        _run([sys.executable, str(SUPPORT / "role_processes.py"), "rejected"], places["Producer"])
    _leave_behind(deployment)
    sweep = ["pipeline", "-A", "deployed_app", "sweep", "--delete", "--older-than", "0s", "--force-age"]
    _run(sweep, places["Sweeper"])
    _run(["pipeline", "-A", "deployed_app", "top", "--once"], places["Monitor"])
    port = free_port()
    gateway = f"uvicorn --factory tasks.uploads:gateway --port {port}"
    with process(gateway, places["Gateway"], tmp_path, ready="startup complete"):
        _upload(Client(f"http://127.0.0.1:{port}", TOKEN))


def _run(words, settings):
    done = subprocess.run(
        words, cwd=ROOT, env=on_path() | settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _uploads(deployment):
    return deployment.aws.bucket(f"claimcheck-uploads-000000000000-{deployment.id}")


def _leave_behind(deployment):
    """Leave what a sweep finds: payloads, dead letters, listeners that died, and their subscriptions."""
    aws, prefix = deployment.aws, f"{deployment.id}-"
    for key in (f"claims/v1/00/2020/01/01/{'0' * 40}", HANDLE):
        aws.client("s3").put_object(Bucket=deployment.resources()["Bucket"], Key=key, Body=b"content")
    for name in QUEUES:
        aws.client("sqs").send_message(QueueUrl=aws.url_of(f"{prefix}{name}-dlq"), MessageBody="x")
    for name in ("EventsTopic", "CommandsTopic"):
        _die_listening(aws, deployment.resources()[name], f"{prefix}claimcheck-listener-{name}")


def _die_listening(aws, topic, name):
    """Leave the queue of a listener that died, and the subscription of another whose queue is gone."""
    allows = {"Statement": [{"Condition": {"ArnEquals": {"aws:SourceArn": topic}}}]}
    queue = aws.queue(name, Policy=json.dumps(allows))
    aws.client("sqs").tag_queue(QueueUrl=queue, Tags={"claimcheck-renewed": "1"})
    arn = aws.attributes(queue)["QueueArn"]
    for endpoint in (arn, f"{arn}-gone"):
        aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint)


def _upload(client):
    content = b"currency,amount\nEUR,1\n"
    one = client.upload("a.csv", "text/csv", content)
    client.upload("b.csv", "text/csv", content * 1_000_000)
    client.ask("GET", f"/tasks/{one['task_id']}")
    assert client.read(one["key"]) == content
    client.ask("DELETE", f"/claims/{one['key']}")
    about = {"name": "c.csv", "media_type": "text/csv", "size_bytes": 10**8}
    given_up = client.ask("POST", "/uploads", about)
    client.ask("DELETE", f"/uploads/{quote(given_up['upload_id'], safe='')}?key={given_up['key']}")
    assert client.read(HANDLE) == b"content"


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_missing(recorded, role):
    """Every call of a role's processes is allowed, on the resource that it names."""
    granted, used = recorded[role]

    assert sorted(use for use in used if not any(is_for(grant, use) for grant in granted)) == []


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_there_for_nothing(recorded, role):
    """Every action that a role allows is one that its processes take."""
    granted, used = recorded[role]
    unused = {grant for grant in granted if not any(is_for(grant, use) for use in used)}

    assert sorted(grant for grant in unused if (role, grant.action) not in BY_S3) == []

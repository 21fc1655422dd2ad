"""What runs the pipeline elsewhere, as far as it can be checked without Docker and without AWS."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from celery import Celery
from flower.options import default_options

from pipeline import local, time_chain
from pipeline.aws.limits import SQS_RETENTION_DEFAULT_SECONDS, SQS_RETENTION_LIMIT_SECONDS
from pipeline.claimcheck.keys import RESULTS
from pipeline.options import DAY_SECONDS, Options
from pipeline.stores import store_from_url
from settings import QUEUES, CelerySettings, ClaimCheckSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
WORKERS = {name: service for name, service in SERVICES.items() if "worker" in service["command"]}
INSTRUCTIONS = [
    line.split()
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]

CELERY = CelerySettings.model_construct()
"""The defaults, whatever the environment of the tests says."""
STORE = store_from_url(ClaimCheckSettings.model_construct().store)


class Template(yaml.SafeLoader):
    """Reads CloudFormation's tags as their text."""


Template.add_multi_constructor("!", lambda _, tag, node: f"{tag} {node.value}")


def resources_of(name):
    return yaml.load((DEPLOY / name).read_text(), Template)["Resources"]


def statements(role):
    policy = json.loads((DEPLOY / f"iam-{role}.json").read_text())
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def instructions(name):
    return [words for keyword, *words in INSTRUCTIONS if keyword == name]


def environment(**more):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONWARNINGS": "default", **more}


def command(service):
    """Return a service's command as its container gets it."""
    return [word.replace("$$", "$") for word in SERVICES[service]["command"]]


ASK_FOR_HELP = """
import io, json, runpy, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points

def run(words):
    if words[0] == "sh":
        words = words[-1].partition("exec ")[2].split()
    sys.argv = [*(words[2:] if words[:2] == ["python", "-m"] else words), "--help"]
    if words[0] == "python":
        runpy.run_module(words[2], run_name="__main__")
    else:
        [script] = entry_points(group="console_scripts", name=words[0])
        script.load()()

for name, words in json.loads(sys.argv[1]).items():
    with redirect_stdout(io.StringIO()) as text, redirect_stderr(text):
        try:
            status = run(words)
        except SystemExit as exc:
            status = exc.code
    print(json.dumps([name, status, text.getvalue()]))
"""
"""Adds --help to each command, in one process: each alone would import Celery and boto3 again."""


@pytest.fixture(scope="module")
def started():
    """The two slow processes of this page, side by side."""
    commands = {name: command(name) for name in SERVICES if name != "places"}
    words = {
        "help": [sys.executable, "-c", ASK_FOR_HELP, json.dumps(commands)],
        "cfn-lint": ["cfn-lint", *map(str, sorted(DEPLOY.glob("*.yaml")))],
    }
    processes = {
        name: subprocess.Popen(each, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
        for name, each in words.items()
    }
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def answers(started):
    """What each command says when it is asked for help: its status and its text."""
    lines = started["help"].communicate(timeout=60)[0].splitlines()
    return {name: (status, text) for name, status, text in map(json.loads, lines)}


def test_the_compose_file_follows_the_specification():
    """The Compose file is valid under the schema of the Compose specification."""
    schemas = resources.files("check_jsonschema.builtin_schemas") / "vendor"

    jsonschema.validate(COMPOSE, json.loads((schemas / "compose-spec.json").read_text()))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_are_locked_down(name):
    """Every service has an init process, a root file system that it cannot write, and no capabilities."""
    service = SERVICES[name]

    assert service["build"] == "."
    assert service["init"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_wait_for_what_exists(name):
    """A service waits for what exists: for health where it is checked, and for an end where there is one."""
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        if wait["condition"] == "service_completed_successfully":
            assert SERVICES[other]["restart"] == "no"
        assert "profiles" not in SERVICES[other]


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"places"}))
def test_commands_exist(name, answers):
    """The command of every service is one that its image has, with the options that it is given."""
    status, text = answers[name]

    assert status == 0, text
    assert text.startswith("Usage:")


def test_scripts_in_commands_are_python():
    """What services and health checks hand to ``python -c`` compiles."""
    commands = [service["command"] for service in SERVICES.values()]
    commands += [service["healthcheck"]["test"] for service in SERVICES.values() if "healthcheck" in service]
    scripts = [words[-1] for words in commands if "-c" in words and "python" in words]

    assert len(scripts) == 5
    for script in scripts:
        compile(script, "docker-compose.yml", "exec")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_variable_is_known(name):
    """Services set no variable that neither settings.py nor boto3 nor Flower reads."""
    known = local.environment("").keys()
    known |= {f"CELERY_{field}".upper() for field in CelerySettings.model_fields}
    known |= {f"CLAIMCHECK_{field}".upper() for field in ClaimCheckSettings.model_fields}
    known |= {f"FLOWER_{option}".upper() for option in default_options}

    assert SERVICES[name]["environment"].keys() <= known


def test_the_stand_in_is_where_all_look_for_it():
    """Endpoint and region of all services are those of the stand-in."""
    words = SERVICES["aws"]["command"]
    expected = f"http://aws:{words[words.index('--port') + 1]}"

    assert "0.0.0.0" in words
    for service in SERVICES.values():
        assert service["environment"]["AWS_ENDPOINT_URL"] == expected
        assert service["environment"]["AWS_DEFAULT_REGION"] == local.REGION
        assert local.REGION in service["environment"]["CELERY_RESULT_BACKEND"]


def test_each_queue_has_a_service():
    """Each queue of the settings has exactly one service whose workers take from it."""
    taken = [service["command"][service["command"].index("-Q") + 1] for service in WORKERS.values()]

    assert sorted(taken) == sorted(QUEUES)


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_workers_can_be_scaled(name):
    """Nothing in a worker's service may exist only once: neither names of containers and nodes, nor ports."""
    service = WORKERS[name]

    assert not service.keys() & {"container_name", "hostname", "ports"}
    assert service["command"][service["command"].index("-n") + 1].endswith("@%h")


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_workers_may_finish_what_they_run(name):
    """A worker is not killed before its task's hard time limit."""
    minutes = int(WORKERS[name]["stop_grace_period"].removesuffix("m"))

    assert minutes * 60 > CELERY.task_time_limit


def test_flower_is_the_one_with_a_password():
    """Flower runs by our command, which makes a password up where none is given; the file has none."""
    assert SERVICES["flower"]["command"][:4] == ["pipeline", "-A", "tasks.app", "flower"]
    assert SERVICES["flower"]["environment"]["FLOWER_BASIC_AUTH"] is None


def test_flower_listens_where_compose_can_reach_it():
    """Inside its container it listens on every address; its port is published to this machine alone."""
    assert "--address=0.0.0.0" in SERVICES["flower"]["command"]
    assert SERVICES["flower"]["ports"] == ["127.0.0.1:5555:5555"]


def test_starting_needs_no_variable():
    """Compose itself asks for none."""
    assert not re.search(r"(?<!\$)\$\{", (ROOT / "docker-compose.yml").read_text())


def test_the_outside_sees_nothing():
    """Ports are published to this machine only."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_images_are_pinned():
    """Images are built on one release of Python that this project supports."""
    images = {words[0] for words in instructions("FROM")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert len(images) == 1
    tag = re.fullmatch(r"python:3\.(\d+)-slim-\w+", images.pop())
    assert tag
    assert int(tag[1]) >= int(project["requires-python"].removeprefix(">=3."))


def test_containers_are_not_root():
    """The image ends as a user with a number, who is not root."""
    assert int(instructions("USER")[-1][0]) > 0
    assert INSTRUCTIONS[-2][0] == "USER"


def test_the_image_copies_what_exists():
    """Every source of a COPY exists, and .dockerignore lets it through and nothing else."""
    sources = {source for words in instructions("COPY") if "--from" not in words[0] for source in words[:-1]}
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }

    assert sources == let_through
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_has_all_of_the_wheel():
    """Every module and package of the wheel is copied: an entry point without its module breaks pytest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sources = {source for words in instructions("COPY") if "--from" not in words[0] for source in words[:-1]}

    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= sources


def test_the_image_installs_what_the_project_offers():
    """The extras that the image installs are in pyproject.toml."""
    extras = instructions("ARG")[0][0].removeprefix("EXTRAS=").split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(extras) <= project["optional-dependencies"].keys()


def test_templates_are_valid(started):
    """CloudFormation's own linter finds nothing in the templates."""
    process = started["cfn-lint"]
    text, _ = process.communicate(timeout=60)

    assert process.returncode == 0, text


def test_payloads_expire_when_the_options_say():
    """Rules expire what lies below the store's prefix at the age that the options state, results sooner."""
    rules = resources_of("bucket.yaml")["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    payloads, results = rules

    assert payloads["Prefix"] == f"{STORE.prefix}/"
    assert payloads["ExpirationInDays"] * DAY_SECONDS == Options().payload_ttl_seconds
    assert results["Prefix"] == f"{STORE.prefix}/{RESULTS}"
    assert results["ExpirationInDays"] * DAY_SECONDS == time_chain.result_seconds(Celery("settings").conf, 0)
    for rule in rules:
        assert rule["Status"] == "Enabled"
        assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_the_bucket_is_private():
    """The bucket is closed to the public, to other owners and to plain HTTP, and encrypts."""
    found = resources_of("bucket.yaml")
    bucket = found["Bucket"]["Properties"]
    [statement] = found["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]

    assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert bucket["BucketEncryption"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_what_guards_the_bucket_stays_with_it():
    """When the stack is gone, the bucket is there with its payloads, and with its policy."""
    for resource in resources_of("bucket.yaml").values():
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("queue", QUEUES)
def test_queues_keep_the_time_chain(queue):
    """Each queue of the settings has the times that the time chain assumes, and a dead-letter queue."""
    found = resources_of("queues.yaml")
    live, dead = (found[f"{queue.title()}{kind}"]["Properties"] for kind in ("", "Dead"))

    assert live["QueueName"].endswith(f"}}{queue}")
    assert live["VisibilityTimeout"] == CELERY.visibility_timeout
    assert live["ReceiveMessageWaitTimeSeconds"] == CELERY.wait_time_seconds
    assert live["MessageRetentionPeriod"] == SQS_RETENTION_DEFAULT_SECONDS
    assert live["RedrivePolicy"]["maxReceiveCount"] == 5
    assert f"{queue.title()}Dead" in live["RedrivePolicy"]["deadLetterTargetArn"]
    assert dead["QueueName"].endswith(f"}}{queue}-dlq")
    assert dead["MessageRetentionPeriod"] == SQS_RETENTION_LIMIT_SECONDS
    for properties in (live, dead):
        assert properties["MaximumMessageSize"] == Options().broker_limit_bytes
        assert properties["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize(("role", "column"), [("producer", 1), ("worker", 2)])
def test_permissions_are_explained(role, column):
    """A policy allows the actions that the page explains for its role, and no other."""
    rows = re.findall(
        r"^\| `(\w+:\w+)` \| (\w+) \| (\w+) \|", (DEPLOY / "README.md").read_text(), re.MULTILINE
    )
    actions = [action for statement in statements(role).values() for action in statement["Action"]]

    assert set(actions) == {row[0] for row in rows if row[column] == "yes"}


@pytest.mark.parametrize("role", ["producer", "worker"])
def test_permissions_are_narrow(role):
    """A policy reaches payloads below the prefix, our queues and one namespace of metrics, and no more."""
    found = statements(role)
    bucket = f"arn:aws:s3:::{STORE.bucket}"
    queues = found.get("Work", found.get("Send"))["Resource"]

    assert found["Payloads"]["Resource"] == f"{bucket}/{STORE.prefix}/*"
    assert [arn.rpartition(":")[2] for arn in queues] == list(QUEUES)
    assert found["Metrics"]["Condition"] == {"StringEquals": {"cloudwatch:namespace": "ClaimCheck"}}
    assert {sid for sid, statement in found.items() if statement["Resource"] == "*"} == {
        "FindQueues",
        "Metrics",
    }
    assert all(statement["Effect"] == "Allow" for statement in found.values())


def test_listing_is_limited_to_the_prefix():
    """A worker may list its prefix, and no more: so that a missing payload is missing and not forbidden."""
    statement = statements("worker")["MissingIsMissing"]

    assert statement["Resource"] == f"arn:aws:s3:::{STORE.bucket}"
    assert statement["Condition"] == {"StringLike": {"s3:prefix": f"{STORE.prefix}/*"}}


def test_every_file_is_explained():
    """The page has a row for each file beside it."""
    page = (DEPLOY / "README.md").read_text()

    assert all(f"| [`{path.name}`](" in page for path in DEPLOY.iterdir() if path.name != "README.md")

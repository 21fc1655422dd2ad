"""The services of ``docker-compose.yml``, as far as they can be checked without Docker."""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from flower.options import default_options
from programs import on_path

from pipeline import local
from settings import QUEUES, CelerySettings, ClaimCheckSettings

ROOT = Path(__file__).parents[2]

CELERY = CelerySettings.model_construct()
"""The defaults, independent of the environment of the tests."""


COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
WORKERS = {name: service for name, service in SERVICES.items() if "worker" in service["command"]}


def command(service):
    """Return a service's command as its container gets it."""
    return [word.replace("$$", "$") for word in SERVICES[service]["command"]]


PRINT_HELP = """
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
def answers():
    """What each command prints for ``--help``: its status and its text."""
    commands = {name: command(name) for name in SERVICES if name != "places"}
    words = [sys.executable, "-c", PRINT_HELP, json.dumps(commands)]
    printed = subprocess.run(
        words, cwd=ROOT, env=on_path(), stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    return {name: (status, text) for name, status, text in map(json.loads, printed.stdout.splitlines())}


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
    """The Compose file needs no variable."""
    assert not re.search(r"(?<!\$)\$\{", (ROOT / "docker-compose.yml").read_text())


def test_the_outside_sees_nothing():
    """Ports are published to this machine only."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)

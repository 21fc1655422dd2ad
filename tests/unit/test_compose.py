"""The services of ``docker-compose.yml``, as far as they can be checked without Docker."""

import json
import os
import re
from importlib import resources
from subprocess import DEVNULL, run

import pytest
from compose_file import COMPOSE, ROOT, SERVICES, command
from flower.options import default_options
from schemas import validator

from pipeline import local
from pipeline.worker.liveness import VARIABLE
from settings import QUEUES, CelerySettings, ClaimCheckSettings

CELERY = CelerySettings.model_construct()
"""The defaults, independent of the environment of the tests."""


WORKERS = {name: service for name, service in SERVICES.items() if "worker" in service["command"]}


def test_the_compose_file_follows_the_specification():
    """The Compose file is valid under the schema of the Compose specification."""
    schemas = resources.files("check_jsonschema.builtin_schemas") / "vendor"

    validator(json.loads((schemas / "compose-spec.json").read_text()))(COMPOSE)


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
    """A service waits for what exists, and for its health, which is checked."""
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert wait["condition"] == "service_healthy"
        assert "healthcheck" in SERVICES[other]
        assert "profiles" not in SERVICES[other]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_memory_has_a_limit(name):
    """No service can take all of the machine's memory."""
    assert re.fullmatch(r"[1-9]\d*[mg]", SERVICES[name]["mem_limit"])


def test_scripts_in_commands_are_python():
    """What services and health checks hand to ``python -c`` compiles."""
    checks = [service["healthcheck"]["test"] for service in SERVICES.values() if "healthcheck" in service]
    scripts = [words[-1] for words in checks if "python" in words]
    scripts += re.findall(r'python -c "([^"]+)"', SERVICES["aws"]["command"][-1])

    assert len(scripts) == 3
    for script in scripts:
        compile(script, "docker-compose.yml", "exec")


@pytest.mark.parametrize("name", sorted(WORKERS))
def test_health_checks_ask_the_worker(name, tmp_path):
    """A worker's check passes with a file that it has just touched, and fails with an old one or none."""
    kind, script = WORKERS[name]["healthcheck"]["test"]
    alive = tmp_path / "alive"
    named = WORKERS[name]["environment"][VARIABLE]
    probe = ["sh", "-c", script.replace("$$", "$").replace(named, str(alive))]

    assert kind == "CMD-SHELL"
    assert run(probe, stderr=DEVNULL, check=False).returncode == 1
    alive.touch()
    assert run(probe, check=False).returncode == 0
    os.utime(alive, (0, 0))
    assert run(probe, check=False).returncode == 1


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_variable_is_known(name):
    """Services set no variable that settings.py, boto3, Flower or the health check does not read."""
    known = local.environment("").keys() | {VARIABLE}
    known |= {f"CELERY_{field}".upper() for field in CelerySettings.model_fields}
    known |= {f"CLAIMCHECK_{field}".upper() for field in ClaimCheckSettings.model_fields}
    known |= {f"FLOWER_{option}".upper() for option in default_options}

    assert SERVICES[name]["environment"].keys() <= known


def test_the_stand_in_is_where_all_look_for_it():
    """Endpoint and region of all services are those of the stand-in."""
    words = command("aws")
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

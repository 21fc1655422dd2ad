"""The wheel in virtual environments that hold nothing else: what is declared there is all that there is."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from page_programs import programs

pytestmark = pytest.mark.pypi

ROOT = Path(__file__).parents[2]

README = programs(ROOT / "README.md")

KOMBU_WORKS = "from kombu import Connection; Connection('memory://').connect(); print('connected')"

APP = """
from celery import Celery
import pipeline
app = Celery(broker="{broker}")
app.conf.broker_connection_timeout = 1
pipeline.install(app, store="memory://claims")
"""

EXTRAS = {
    "app": "import settings; print(settings.CelerySettings().as_celery())",
    "local": "import pipeline.cli.top_terminal; from pipeline.local import EmbeddedAWS as A\nwith A(): ...",
    "flower": "from pipeline.cli import flower_server; print(flower_server.run)",
    "redis": APP.format(broker="redis://127.0.0.1:1")
    + "import kombu\ntry: app.send_task('x', retry=False)\nexcept kombu.exceptions.OperationalError: ...",
    "gateway": "import uvicorn; from pipeline.gateway import Anyone, create_app; print(create_app, Anyone())",
    "otel": "from pipeline.metrics import OpenTelemetrySink; print(OpenTelemetrySink())",
    **{
        name: f"import {name}; from pipeline.claimcheck.codec import Codec\n"
        f"from pipeline.serializer.serializer import KOMBU_TYPES\n"
        f"codec = Codec(KOMBU_TYPES, 'msgpack'); print(codec.decode(*codec.encode({name}.{value})))"
        for name, value in {
            "numpy": "arange(3)",
            "pandas": "Series([1])",
            "polars": "Series([1])",
            "pyarrow": "table({'a': [1]})",
        }.items()
    },
    "obstore": "from pipeline.stores.s3.obstore_transfer import check_installed; check_installed()",
    "logs": "import pythonjsonlogger.core; from pythonjsonlogger.json import JsonFormatter",
    "prometheus": "from opentelemetry.exporter.prometheus import PrometheusMetricReader\n"
    "from opentelemetry.sdk.metrics import MeterProvider; MeterProvider([PrometheusMetricReader()])",
}
"""What each extra is for, as a program."""


class Environment:
    """A virtual environment, and a directory of its own in which programs run."""

    def __init__(self, root, wheel):
        self.root, self.wheel = root, wheel
        self.python = root / "bin" / "python"

    def install(self):
        """Install the wheel as its users do."""
        self._run(sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", self.wheel)

    def add(self, *packages):
        """Install packages in a tenth of pip's time, and check that all fit together."""
        uv = [Path(sys.executable).parent / "uv", "pip"]
        self._run(*uv, "install", "--quiet", "--system-certs", "--python", self.python, *packages)
        self._run(*uv, "check", "--quiet", "--python", self.python)

    def _run(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def copy(self, root):
        """Return a second environment with the same packages, made of hard links."""
        shutil.copytree(self.root, root, copy_function=os.link, symlinks=True)
        return Environment(root, self.wheel)

    def run(self, program, cwd):
        command = [self.python, "-c", program]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The wheel without extras."""
    directory = tmp_path_factory.mktemp("empty")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(directory))
    venv.create(directory / "venv", with_pip=False)
    environment = Environment(directory / "venv", wheel)
    environment.install()
    return environment


@pytest.mark.parametrize("number", range(len(README)))
def test_the_readme_runs_with_the_wheel_alone(bare, tmp_path, number):
    """Without extras, each program of the README runs, and prints what the README shows."""
    done = bare.run(README[number].source, tmp_path)

    assert done.returncode == 0, done.stderr
    assert README[number].prints in {None, done.stdout}


def test_the_entry_point_registers_the_serializer(bare, tmp_path):
    """The serializer is registered as soon as Kombu is imported."""
    program = "from kombu.serialization import registry; print(registry.name_to_type['claimcheck'])"

    assert bare.run(program, tmp_path).stdout == "application/x-claimcheck\n"


@pytest.mark.parametrize("name", ["pipeline.py", "pipeline/__init__.py"])
def test_a_module_of_that_name_leaves_kombu_working(bare, tmp_path, name):
    """Where ``pipeline`` is the user's own, it is not imported, one sentence says so, and Kombu works."""
    theirs = tmp_path / name
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("raise RuntimeError('imported by somebody else')\n")
    done = bare.run(KOMBU_WORKS, tmp_path)

    assert (done.returncode, done.stdout) == (0, "connected\n")
    assert done.stderr == (
        f"celery-claimcheck-pipeline is not usable here: 'pipeline' is {theirs}, another module; "
        "rename that module to use the library\n"
    )


def test_a_users_own_module_may_use_celery(bare, tmp_path):
    """A user's ``pipeline`` that imports Celery can be imported as if this library were not there."""
    (tmp_path / "pipeline.py").write_text("from celery import Celery; app = Celery(broker='memory://')\n")
    done = bare.run("import pipeline; print(pipeline.app.connection().connect() is not None)", tmp_path)

    assert done.stdout == "True\n"
    assert len(done.stderr.splitlines()) == 1


def test_a_library_that_cannot_be_imported_leaves_kombu_working(bare, tmp_path):
    """Kombu works if a dependency of this library is broken, after a warning of one sentence."""
    (tmp_path / "msgspec.py").write_text("raise ImportError('built for another Python')\n")
    done = bare.run(KOMBU_WORKS, tmp_path)

    assert (done.returncode, done.stdout) == (0, "connected\n")
    assert done.stderr == (
        "celery-claimcheck-pipeline is not usable here: ImportError: built for another Python\n"
    )


def test_pytest_works_beside_a_module_of_that_name(bare, tmp_path):
    """The wheel's pytest plugin loads where ``pipeline`` is the user's own, and imports nothing."""
    environment = bare.copy(tmp_path / "venv")
    environment.add("pytest")
    (tmp_path / "pipeline.py").write_text("ours = 1\n")
    (tmp_path / "test_it.py").write_text(
        "import sys, pipeline\ndef test_it(): assert pipeline.ours and 'kombu' not in sys.modules\n"
    )
    done = environment.run("import pytest; pytest.main(['-W', 'error', 'test_it.py'])", tmp_path)

    assert "plugins: celery-claimcheck-pipeline" in done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_it_needs(bare, tmp_path, extra):
    """With an extra alone, what it is for works."""
    environment = bare.copy(tmp_path / "venv")
    environment.add(f"{environment.wheel}[{extra}]")
    shutil.copy(ROOT / "settings.py", tmp_path)
    done = environment.run(EXTRAS[extra], tmp_path)

    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def errors_of_types(bare, tmp_path_factory):
    """What ``mypy --strict`` finds in two applications, beside stubs of Celery: codes by line, by module."""
    root = tmp_path_factory.mktemp("types")
    environment = bare.copy(root / "venv")
    environment.add(f"{environment.wheel}[gateway]", "celery-types")
    for name in ("typed_app.py", "mistaken_app.py"):
        shutil.copy(ROOT / "tests/apps" / name, root)
    words = ["--strict", "--config-file=", "--no-error-summary", "typed_app.py", "mistaken_app.py"]
    command = [sys.executable, "-m", "mypy", "--python-executable", environment.python, *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert not done.stderr
    return re.findall(r"^(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)


def test_an_application_is_strictly_typed(errors_of_types):
    """Mypy finds nothing in an application that uses the public names."""
    assert [found for found in errors_of_types if found[0] == "typed_app"] == []


def test_mistakes_are_errors_of_types(errors_of_types):
    """Mypy finds misspelled options, values of wrong types, and functions that are no doors."""
    lines = (ROOT / "tests/apps/mistaken_app.py").read_text().splitlines()
    expected = [
        ("mistaken_app", str(number), code)
        for number, line in enumerate(lines, 1)
        for code in line.partition("  # ")[2].split(", ")
        if code
    ]

    assert errors_of_types == expected


def test_every_extra_is_tried():
    """No extra is left out, but for those of this repository's developers."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert EXTRAS.keys() == declared.keys() - {"bench", "dev", "docs"}

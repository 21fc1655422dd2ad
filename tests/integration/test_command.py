"""What every command does when it cannot do its work: exit code 2, and one sentence in either form."""

import json
import signal
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner
from workers import APPS, eventually

from pipeline.cli.main import main
from pipeline.local import free_port

pytestmark = pytest.mark.aws


def started(sample, *words, **environment):
    """Run a command as a process of its own."""
    command, pipe = [sys.executable, "-m", "pipeline", "-A", "sample_app", *words], subprocess.PIPE
    env = {**sample.environment, **environment}
    return subprocess.Popen(command, cwd=APPS, env=env, stdout=pipe, stderr=pipe, text=True)


BROKEN = """
from sample_app import app

class Task(app.Task):
    @property
    def queue(self):
        raise LookupError("confidential")

@app.task(base=Task, name="broken", shared=False)
def broken(): pass
"""


@pytest.fixture
def broken(sample, monkeypatch, tmp_path):
    """An app whose queues raise an error with a confidential text."""
    (tmp_path / "broken_app.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("broken_app", None)


def test_an_unexpected_error_is_one_sentence(broken):
    """An unexpected error exits with 2, not with the 1 of findings, and JSON does not repeat its text."""
    result = CliRunner().invoke(main, ["-A", "broken_app", "dlq", "list", "--json"])

    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"].startswith("unexpected LookupError: report")
    assert "confidential" not in result.output


def test_an_unexpected_error_has_a_traceback(broken):
    """An unexpected error prints its traceback on stderr."""
    result = CliRunner().invoke(main, ["-A", "broken_app", "dlq", "list"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" in result.stderr
    assert "broken_app.py" in result.stderr


@pytest.mark.parametrize(
    ("text", "said", "is_traced"),
    [
        ("raise LookupError('no such shop')", "LookupError: no such shop", True),
        ("import sys; sys.exit(1)", "SystemExit: 1", True),
        ("import sys; sys.exit('no shop')", "SystemExit: no shop", True),
        ("raise ValueError('no such shop')", "ValueError: Couldn't import 'no_app': no such shop", False),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'", False),
    ],
)
def test_an_app_that_cannot_be_loaded_is_an_error(monkeypatch, tmp_path, text, said, is_traced):
    """An app that fails to load is one sentence and exit code 2, and JSON prints nothing else."""
    (tmp_path / "no_app.py").write_text(f"{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["-A", "no_app", "dlq", "list"]
    shown, asked = (CliRunner().invoke(main, [*words, *more]) for more in ((), ("--json",)))
    error = f"app 'no_app' cannot be loaded: {said}"

    assert shown.exit_code == asked.exit_code == 2
    assert shown.stderr.splitlines()[-1] == f"Error: {error}"
    assert ("no_app.py" in shown.stderr) is is_traced
    assert json.loads(asked.stdout) == {"error": error}
    assert "Traceback" not in asked.stderr


def test_flower_says_what_is_wrong_too():
    """A command without --json ends with one sentence as the others do."""
    result = CliRunner().invoke(main, ["flower"])

    assert (result.exit_code, result.stderr.splitlines()[-1][:17]) == (2, "Error: no app: na")


@pytest.mark.worker
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port=abc"], "Error: Flower cannot read its options or FLOWER_… variables: invalid literal"),
        (["--conf=/nowhere.py"], "Error: Flower cannot read its options or FLOWER_… variables: [Errno 2]"),
        (["--certfile=only"], "Error: Flower rejected the options: see its message above"),
        (["--address=192.0.2.1"], "Error: Flower cannot listen on 192.0.2.1:5555: Cannot assign"),
    ],
)
def test_flower_that_cannot_start_is_one_sentence(sample, words, said):
    """Options that Flower cannot read or work with are an error and no traceback."""
    with started(sample, "flower", *words) as process:
        errors = process.communicate(timeout=30)[1]

    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith(said)
    assert "Traceback" not in errors


@pytest.mark.worker
def test_a_port_that_is_taken_is_one_sentence(sample):
    """A port that is in use is one sentence that names the address and the fix."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with started(sample, "flower", f"--port={port}") as process:
            errors = process.communicate(timeout=30)[1]

    assert process.returncode == 2
    assert errors == f"Error: Flower cannot listen on 127.0.0.1:{port}: Address already in use; {PORT}\n"


PORT = "choose another --port"


@pytest.mark.worker
@pytest.mark.parametrize(
    ("words", "host", "is_open"),
    [([], "127.0.0.1", False), (["--address=0.0.0.0"], "0.0.0.0", True)],
)
def test_flower_listens_where_it_says(sample, words, host, is_open):
    """Flower listens on localhost by default, and prints its address."""
    port = free_port()
    env = {"FLOWER_BASIC_AUTH": "user:password", "PYTHONUNBUFFERED": "1"}
    with started(sample, "flower", f"--port={port}", *words, **env) as process:
        said = process.stdout.readline()
        other = socket.socket()
        answers = other.connect_ex(("127.0.0.2", port)) == 0  # another address of this machine
        other.close()
        process.terminate()
        process.communicate(timeout=20)

    assert said == f"Flower: http://{host}:{port}/\n"
    assert answers is is_open


WITHOUT_FLOWER = """
import sys
sys.modules.update(dict.fromkeys(("flower", "tornado", "rich", "moto", "pydantic_settings")))
from pipeline.cli.main import main
main()
"""
"""The command where nothing is installed but what the library itself needs."""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "  flower     Run Flower, with SQS queue lengths"),
        (
            ["-A", "sample_app", "flower"],
            2,
            "Error: flower is not installed: pip install 'celery-claimcheck-pipeline[flower]'",
        ),
    ],
)
def test_extras_are_asked_for_when_they_are_needed(words, code, said):
    """Without extras the help names all commands, and one that needs an extra says which."""
    command = [sys.executable, "-c", WITHOUT_FLOWER, *words]
    done = subprocess.run(command, cwd=APPS, capture_output=True, text=True, check=False)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert said in done.stdout + done.stderr


@pytest.mark.worker
def test_output_without_a_reader_is_an_error(sample, moto_aws):
    """A reader that goes away early does not make findings of what was not said."""
    moto_aws.queue(sample.queue)
    with started(sample, "top", "--json", "--interval", "1") as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode == 2
    assert errors == "Error: the reader closed the pipe: read the output to its end\n"


@pytest.mark.worker
def test_ctrl_c_is_an_error(sample, proxy):
    """A command that is broken off has not found anything: it ends with 2, and says so in JSON."""
    proxy.delay(20, "ListQueues")
    with started(sample, "dlq", "list", "--json", AWS_ENDPOINT_URL=proxy.url) as process:
        eventually(lambda: proxy.operations["ListQueues"], 20, "SQS was not asked")
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=10)

    assert process.returncode == 2
    assert json.loads(said)["error"].startswith("interrupted")
    assert "Traceback" not in errors

"""The demo, run as a user runs it: from a fresh shell, in some other directory."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from base64 import b64encode
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from workers import eventually

pytestmark = [pytest.mark.aws, pytest.mark.worker]

DEMO = [sys.executable, "-m", "tasks.demo"]
BROKEN = """
from tasks.demo import processes
from tasks.demo.__main__ import main
processes.CONCURRENCY["bulk"] = "many"
main()
"""
"""The demo with a worker that refuses to start."""
MARK = "DEMO_TEST_MARK"
"""Variable that every process of one demo inherits."""
PROOF = (
    "✓ tasks succeeded: 24 of 24",
    "✓ bucket empty: 0 objects",
    "✓ queues empty: 0 waiting, 0 in flight, 0 delayed",
    "✓ metric PayloadsOffloaded: 18 for 18",
    "✓ metric TasksSucceeded: 24 for 24",
    "✓ metric PayloadsReleased:",
)


@pytest.fixture
def shell(tmp_path):
    """A fresh shell's environment, marked, whose temporary files are ours."""
    return environment(tmp_path)


def environment(folder):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CELERY_"))}
    return kept | {MARK: uuid.uuid4().hex, "TMPDIR": str(folder)}


@contextmanager
def started(command, shell):
    process = subprocess.Popen(
        command,
        env=shell,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        with process:
            yield process
    finally:
        for left in alive(shell):
            left.kill()


def alive(shell):
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(MARK) == shell[MARK]
        except psutil.Error:
            continue
        if ours and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def read_until(process, start):
    return next(line for line in process.stdout if line.startswith(start))


@pytest.mark.slow
def test_it_shows_and_proves_the_whole_way(shell, tmp_path):
    """One command sends everything, proves that nothing is left, and leaves no process and no file."""
    with started(DEMO, shell) as demo:
        output, _ = demo.communicate(timeout=180)

    assert demo.returncode == 0, output
    assert [line for line in PROOF if line not in output] == []
    assert output.count("offloaded ") >= 18
    assert "50,000 records, 6 regions" in output
    assert alive(shell) == []
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_what_keep_started(shell, tmp_path):
    """Ctrl-C ends every process of a kept system, children of children included, as intended: exit code 0."""
    with started([*DEMO, "--keep"], shell) as demo:
        read_until(demo, "Ready")
        family = psutil.Process(demo.pid).children(recursive=True)
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: the whole group gets it
        output, _ = demo.communicate(timeout=60)

    assert len(family) >= 6  # AWS, two workers, three pool children
    assert [process for process in family if process.is_running()] == []
    assert alive(shell) == []
    assert demo.returncode == 0
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0, 5.0])
def test_a_signal_while_it_starts_leaves_nothing(shell, seconds):
    """A signal at any moment of the start ends what has been started by then."""
    with started([*DEMO, "--keep"], shell) as demo:
        time.sleep(seconds)
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=60)

    assert alive(shell) == []


def test_a_start_that_fails_leaves_nothing_but_logs(shell, tmp_path):
    """A worker that does not start is one sentence, exit code 1, no process, and its log."""
    with started([sys.executable, "-c", BROKEN], shell) as demo:
        output, _ = demo.communicate(timeout=60)

    (directory,) = tmp_path.iterdir()
    assert demo.returncode == 1
    assert output.splitlines()[-1] == (
        f"Error: the worker of queue bulk ended with code 2; logs are in {directory}."
    )
    assert alive(shell) == []


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A kept system: a shell that can reach it, and all that it says to its operator."""
    shell = environment(tmp_path_factory.mktemp("kept"))
    with started([*DEMO, "--keep"], shell) as demo:
        yield shell, "".join(iter(demo.stdout.readline, "Or everything that the demo sends:\n"))
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=60)
    assert alive(shell) == []


def test_another_shell_can_send_to_a_kept_system(kept):
    """What ``--keep`` prints is a script for a shell: it sends a task and shows its result."""
    shell, said = kept
    script = re.search(r"^Send a task.*\n((?s:.*))", said, re.MULTILINE)[1]
    sent = subprocess.run(["sh", "-ec", script], env=shell, capture_output=True, text=True, check=False)

    assert sent.returncode == 0, sent.stderr
    assert float(sent.stdout) > 0


def test_the_doctor_finds_nothing_wrong_with_a_kept_system(kept):
    """In the demo's own AWS every check of ``pipeline doctor`` passes."""
    shell, said = kept
    script = "\n".join(re.findall(r"^(?:export|cd) .*$", said, re.MULTILINE))
    script += f"\n{sys.executable} -m pipeline -A tasks.app doctor --json"
    done = subprocess.run(["sh", "-ec", script], env=shell, capture_output=True, text=True, check=False)
    checks = json.loads(done.stdout)["checks"]

    assert [check for check in checks if not check["ok"]] == []
    assert done.returncode == 0


def test_flower_watches_a_kept_system(kept):
    """``--keep`` prints Flower's address with its password; it knows the workers, and keeps others out."""
    said = re.search(r"^Flower: (\S+) \(user (\S+), password (\S+)\)", kept[1], re.MULTILINE)
    login = b64encode(f"{said[2]}:{said[3]}".encode()).decode()
    asked = Request(f"{said[1]}/api/workers?refresh=true")
    eventually(lambda: answer(asked) == 401, 60)
    asked.add_header("Authorization", f"Basic {login}")
    known = eventually(lambda: len(workers := answer(asked)) == 2 and workers, 60)

    assert {queue["name"] for each in known.values() for queue in each["active_queues"]} == {
        "bulk",
        "default",
    }


def answer(request):
    """Return what a server says, or the number of its refusal, or nothing as long as it is not there."""
    try:
        with urlopen(request, timeout=20) as said:
            return json.load(said)
    except HTTPError as exc:
        return exc.code
    except OSError:
        return ()


def test_results_that_nobody_keeps_are_not_awaited(shell):
    """Without a result backend, ``--produce-only`` sends nothing and says in a sentence what to set."""
    with started([*DEMO, "--produce-only"], shell) as demo:
        output, _ = demo.communicate(timeout=60)

    assert demo.returncode == 1
    assert output == ("Error: no result backend: set CELERY_RESULT_BACKEND, here and for the workers.\n")

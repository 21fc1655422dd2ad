"""Services of ``docker-compose.yml`` as processes: the stand-in for AWS restarts, and has forgotten all."""

import os
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from programs import on_path

from pipeline.local import HOST, environment, free_port

pytestmark = [pytest.mark.aws, pytest.mark.worker]

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


class Machine:
    """Runs services as Docker Compose does, with another address of AWS and another file of the worker."""

    def __init__(self, port, alive):
        self._changes = {":4566": f":{port}", "--port 4566": f"--port {port}", "/tmp/alive": str(alive)}
        self._endpoint = environment(f"http://{HOST}:{port}")

    @contextmanager
    def running(self, name):
        process = subprocess.Popen(
            self._words(SERVICES[name]["command"]), cwd=ROOT, env=self._env(name), start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def is_healthy(self, name):
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        words = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        return self.run(name, words).returncode == 0

    def await_health(self, name):
        end = time.monotonic() + 60
        while not self.is_healthy(name):
            assert time.monotonic() < end, name
            time.sleep(0.5)

    def run(self, name, words):
        return subprocess.run(
            self._words(words), cwd=ROOT, env=self._env(name), capture_output=True, text=True, check=False
        )

    def run_task(self):
        done = self.run("producer", ["python", "-m", "tasks.demo.one_task"])
        assert done.stdout.startswith("18032197"), done.stderr

    def _words(self, words):
        for old, new in {"$$": "$", **self._changes}.items():
            words = [word.replace(old, new) for word in words]
        return words

    def _env(self, name):
        return {
            **on_path(),
            **SERVICES[name]["environment"],
            **self._endpoint,
            "WORKER_ALIVE_FILE": self._changes["/tmp/alive"],
        }


def test_a_restart_of_the_stand_in_ends_nothing(tmp_path):
    """A stand-in that starts again makes all places again; the worker is healthy meanwhile, and goes on."""
    machine = Machine(free_port(), tmp_path / "alive")
    with ExitStack() as stack:
        with machine.running("aws"):
            machine.await_health("aws")
            stack.enter_context(machine.running("worker-default"))
            machine.await_health("worker-default")
            machine.run_task()  # healthy is also a worker that does not consume yet, and finds no queue then
        assert machine.is_healthy("worker-default")
        with machine.running("aws"):
            machine.await_health("aws")
            machine.run_task()

        assert machine.is_healthy("worker-default")

"""Programs that start fast: each in a process that is forked after Celery and boto3 were imported."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SERVER = """
import atexit, json, os, runpy, sys, threading, traceback
import boto3, celery.app.amqp, celery.app.trace, celery.backends.rpc, celery.contrib.testing.worker, fastapi
import kombu.transport.memory, kombu.transport.SQS, moto.server, opentelemetry.sdk.metrics, ormsgpack, stamina

for line in sys.stdin:
    child = os.fork()
    if not child:
        break
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    sys.exit()

folder, environment = json.loads(line)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
for name, descriptor in {"stdout": 1, "stderr": 2}.items():
    os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY), descriptor)
sys.stdin, sys.argv, status = open(os.devnull), ["example.py"], 1
try:
    runpy.run_path("example.py", run_name="__main__")
    status = 0
except BaseException:
    traceback.print_exc()
threading._shutdown()
atexit._run_exitfuncs()
sys.stdout.flush()
os._exit(status)  # to free all that was imported takes longer than most programs
"""
"""Reads folders and environments, runs the ``example.py`` of each folder, and prints its exit status.

It imports no module of this project: a page that uses one has to import it.
"""


@dataclass
class Ended:
    """How a program ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class ForkedPrograms:
    """Runs programs one after the other, until the block ends."""

    def __enter__(self):
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def run(self, source, folder):
        """Run a program in an empty folder and this environment, as ``python example.py`` does."""
        (folder / "example.py").write_text(source)
        self.server.stdin.write(json.dumps([str(folder), dict(os.environ)]) + "\n")
        self.server.stdin.flush()
        status = int(self.server.stdout.readline())
        return Ended(status, *((folder / name).read_text() for name in ("stdout", "stderr")))

    def __exit__(self, *_):
        self.server.communicate(timeout=60)

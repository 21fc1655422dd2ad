"""Stacks of ``deploy/`` on a stand-in, made by the same commands as in AWS, and processes that use them."""

import shlex
import signal
import site
import subprocess
import zipfile
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from programs import on_path
from workers import eventually

from deploy.monitoring.template import template as monitoring_template
from deploy.stand_in import for_stand_in
from deploy.templates import DEPLOY, template

ROOT = Path(__file__).parents[2]


def looped(name, loop):
    """Return what a template repeats in one of its loops."""
    return template(name)["Resources"][f"Fn::ForEach::{loop}"][2]


def core_for_standin(into, queues):
    """Write the templates of ``make deploy-core`` for other queues than those of settings.py."""
    texts = {name: (DEPLOY / name).read_text() for name in ("core.yaml", "roles.yaml")}
    for name, text in {**texts, "monitoring.yaml": monitoring_template(queues)}.items():
        (into / name).write_text(for_stand_in(text, {}))
    return into


def code_of(path, *modules):
    """Write an archive for functions whose modules are those of this repository, not copies of them."""
    paths = [str(ROOT), str(ROOT / "examples"), *site.getsitepackages()]
    with zipfile.ZipFile(path, "w") as archive:
        for module in modules:
            source = f"import sys\nsys.path[:0] = {paths!r}\nfrom {module} import *\n"
            archive.writestr(f"deployed_{module.rpartition('.')[2]}.py", source)
    return path


def actions_of(role):
    """Return the actions that ``deploy/roles.yaml`` allows to a role: ``Worker``."""
    resources = template("roles.yaml")["Resources"]
    loops = [each[2] for name, each in resources.items() if name.startswith("Fn::ForEach")]
    policies = [each for group in (resources, *loops) for each in group.values() if "Properties" in each]
    statements = [
        statement
        for policy in policies
        if {"Ref": role} in policy["Properties"].get("Roles", ())
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    actions = [statement["Action"] for statement in statements]
    return {action for each in actions for action in (each if isinstance(each, list) else [each])}


class Deployment:
    """The stacks of one ``DeploymentId``, in the AWS that the environment names."""

    def __init__(self, aws):
        self.aws = aws
        self.id = f"t{uuid4().hex[:8]}"

    def make(self, target, **variables):
        """Run a target of the Makefile, and return what it prints."""
        words = ["make", "--no-print-directory", target, f"ID={self.id}"]
        words += [f"{name}={value}" for name, value in variables.items()]
        done = subprocess.run(
            words, cwd=ROOT, env=on_path(), capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def settings(self, stack="core"):
        """Return the settings that a stack's output has, by name."""
        lines = self.make("env", STACK=f"claimcheck-{self.id}-{stack}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def resources(self, stack="core"):
        """Return the physical ids of a stack's resources, by logical id."""
        found = self.aws.client("cloudformation").describe_stack_resources(
            StackName=f"claimcheck-{self.id}-{stack}"
        )["StackResources"]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}


@contextmanager
def process(command, environment, tmp_path, ready=" ready."):
    """Run a program for the length of a ``with`` block; yield it when its log has a text."""
    words = shlex.split(command) if isinstance(command, str) else command
    log = tmp_path / f"{words[0]}-{uuid4().hex[:6]}.log"
    with log.open("ab") as file:
        running = subprocess.Popen(
            words, cwd=ROOT, env=on_path() | environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        eventually(lambda: ready in log.read_text() or running.poll() is not None, 60)
        assert running.poll() is None, log.read_text()[-4000:]
        running.log = log
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def keys(aws, bucket):
    """Return the keys of a bucket's objects."""
    return [each["Key"] for each in aws.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]

"""The command ``python -m tasks.demo``."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import sleep

import click

from pipeline.serializer import serializer
from settings import QUEUES, CelerySettings
from tasks.demo import flower, processes, report, workload
from tasks.demo.checks import checks
from tasks.demo.processes import ROOT, DemoError, Workers
from tasks.demo.workload import Sent

SHOWN = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


@click.command()
@click.option("--keep", is_flag=True, help="Start the system and keep it until Ctrl-C.")
@click.option("--produce-only", is_flag=True, help="Send to the AWS that the environment names, and wait.")
def main(*, keep: bool, produce_only: bool) -> None:
    """Send large inputs through the whole pipeline, on a local AWS, and check that nothing is left."""
    if keep and produce_only:
        raise click.UsageError("--keep and --produce-only exclude each other")
    # The checks find what libraries would warn of here, a dropped metric for example.
    logging.basicConfig(level=logging.ERROR)
    processes.handle_signals()
    with in_one_sentence():
        (_keep if keep else _produce if produce_only else _demonstrate)()


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Report an error of the ``with`` block as one sentence, and end with status 1."""
    try:
        yield
    except Exception as exc:
        raise click.ClickException(f"{processes.sentence(exc)}.") from exc


def _demonstrate() -> None:
    report.console.print("Starting a local AWS, and a worker for each queue …")
    with processes.running() as workers:
        sent = _send_and_collect(workers)
        # Metrics are sent when a process ends, and after a minute otherwise.
        workers.stop()
        serializer.installed().recorder.flush()
        _judge(sent, workers)


def _send_and_collect(workers: Workers | None) -> list[Sent]:
    total = len(workload.MIX)
    with report.progress("sending", total) as advance:
        sent = workload.send(advance)
    with report.progress("results", total) as advance:
        workload.collect(sent, workers.check if workers else lambda: None, advance)
    return sent


def _judge(sent: list[Sent], workers: Workers) -> None:
    report.show(sent, workers.journal)
    found = list(checks(sent))
    report.show_checks(found)
    failed = sum(not check.holds for check in found)
    if failed:
        raise DemoError(f"{failed} of {len(found)} checks failed")


def _keep() -> None:
    with processes.running() as workers, flower.running(workers.directory) as where, suppress(SystemExit):
        click.echo(f"Ready: a worker for each of {', '.join(QUEUES)}; logs in {workers.directory}")
        click.echo(f"Flower: {where}")
        click.echo(_instructions())
        while True:
            workers.check()
            sleep(0.5)


def _instructions() -> str:
    exports = [f"export {name}={os.environ[name]}" for name in (*SHOWN, "CELERY_RESULT_BACKEND")]
    lines = [*exports, f"cd {ROOT}", f"{sys.executable} -m tasks.demo.one_task"]
    lines += ["", "Or everything that the demo sends:", "", f"{sys.executable} -m tasks.demo --produce-only"]
    return "\n".join(["Send a task from another shell:", "", *lines, "", "Ctrl-C ends it all."])


def _produce() -> None:
    if CelerySettings().result_backend.startswith("disabled"):
        raise DemoError("no result backend: set CELERY_RESULT_BACKEND, here and for the workers")
    sent = _send_and_collect(None)
    report.show(sent, None)
    failed = sum(not each.succeeded for each in sent)
    if failed:
        raise DemoError(f"{failed} of {len(sent)} tasks have not succeeded")


if __name__ == "__main__":
    main()

"""The command ``python -m tasks.demo.doors``."""

import json
import logging
import os
import secrets
from contextlib import suppress
from time import sleep

import click

from tasks.demo import processes, report
from tasks.demo.__main__ import in_one_sentence
from tasks.demo.doors import aws_resources, gateway
from tasks.demo.doors import report as table
from tasks.demo.doors.checks import checks
from tasks.demo.doors.client import Client
from tasks.demo.doors.files import files
from tasks.demo.doors.uploading import upload_all
from tasks.demo.processes import DemoError

APP = "tasks.uploads"
CONCURRENCY = {"uploads": 2}


@click.command()
@click.option("--keep", is_flag=True, help="Start the system and its page, and keep them until Ctrl-C.")
def main(*, keep: bool) -> None:
    """Upload files as a client without AWS credentials; S3's notifications make tasks of them."""
    logging.basicConfig(level=logging.ERROR)
    processes.handle_signals()
    token = secrets.token_urlsafe()
    with in_one_sentence():
        report.console.print("Starting a local AWS, a worker and the gateway …")
        with (
            processes.running(APP, CONCURRENCY, lambda: _make(token)) as workers,
            gateway.running(workers.directory) as url,
        ):
            (_keep if keep else _demonstrate)(workers, Client(url, token))


def _make(token: str) -> None:
    os.environ["UPLOADS_TOKENS"] = json.dumps({token: "demo"})
    aws_resources.make()


def _demonstrate(workers: processes.Workers, client: Client) -> None:
    uploads = list(files())
    with report.progress("uploading", len(uploads)) as advance:
        done = upload_all(client, uploads, advance)
    table.show(done)
    workers.stop()
    found = list(checks(client, done))
    report.show_checks(found)
    failed = sum(not check.holds for check in found)
    if failed:
        raise DemoError(f"{failed} of {len(found)} checks failed")


def _keep(workers: processes.Workers, client: Client) -> None:
    with suppress(SystemExit):
        click.echo(f"Page: {client.url}\nAccess token: {client.token}\nCtrl-C ends it all.")
        while True:
            workers.check()
            sleep(0.5)


if __name__ == "__main__":
    main()

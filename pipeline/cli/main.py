"""The ``pipeline`` command: tools for operators and developers."""

from importlib import import_module

import click

from pipeline.aws.logs import keep_secrets_out
from pipeline.cli.exit_codes import Failure
from pipeline.local import environment, serve

OPERATIONS = ("claim", "dlq", "doctor", "flower", "provision", "sweep", "top")
"""Commands of ``pipeline/cli/``. They import Celery and boto3, which takes half a second; ``pipeline local``
does not."""


class Commands(click.Group):
    """Imports a command on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted((*super().list_commands(ctx), *OPERATIONS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        if cmd_name not in OPERATIONS:
            return super().get_command(ctx, cmd_name)
        command: click.Command = import_module(f"pipeline.cli.{cmd_name}").command
        return command


@click.group(cls=Commands)
@click.option("-A", "--app", metavar="APP", help="The Celery app, named as for celery -A: tasks.app")
@click.option("-Q", "--queues", metavar="NAME,...", help="Queues beside those that the app names: bulk,mail")
@click.version_option(package_name="celery-claimcheck-pipeline")
def main(app: str | None, queues: str | None) -> None:  # noqa: ARG001 - commands read them from the context
    """Claim check for Celery on SQS: large task arguments go to S3, a small claim travels.

    Every command except local needs -A. Exit codes: 0 success, 1 findings, 2 error.
    """
    keep_secrets_out()


@main.command("local")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4566, show_default=True, type=click.IntRange(1, 65_535))
def run_local(host: str, port: int) -> None:
    """Run a local AWS in memory until Ctrl-C: moto's server.

    Prints the export line with its environment variables.
    """
    try:
        serve(host, port, lambda url: click.echo(_export(url)))
    except ImportError as exc:
        raise Failure(str(exc)) from exc
    except OSError as exc:
        raise Failure(f"cannot listen on {host}:{port}: {exc.strerror}") from exc


def _export(url: str) -> str:
    return "export " + " ".join(f"{name}={value}" for name, value in environment(url).items())

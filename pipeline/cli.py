"""The ``pipeline`` command: tools for operators and developers."""

import click

from pipeline.local import environment, serve


@click.group()
@click.version_option(package_name="celery-claimcheck-pipeline")
def main() -> None:
    """Claim check for Celery on SQS: large task arguments go to S3, a small claim travels."""


@main.command("local")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=4566, show_default=True, type=click.IntRange(1, 65_535))
def run_local(host: str, port: int) -> None:
    """Run an AWS of your own, in memory, until Ctrl-C: moto's server.

    Prints the line that points a shell at it.
    """
    try:
        serve(host, port, lambda url: click.echo(_export(url)))
    except ImportError as exc:
        raise click.ClickException(str(exc)) from exc
    except OSError as exc:
        raise click.ClickException(f"cannot listen on {host}:{port}: {exc.strerror}") from exc


def _export(url: str) -> str:
    return "export " + " ".join(f"{name}={value}" for name, value in environment(url).items())

"""``pipeline flower``. Flower itself is an extra, and imported when it is to run."""

from types import ModuleType

import click

from pipeline.cli.failure import Failure
from pipeline.cli.frame import app_of, reported


@click.command("flower", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run Flower, with queue lengths of SQS and with authentication.

    Takes Flower's own options and FLOWER_… variables. It listens on this machine alone, unless --address or
    FLOWER_ADDRESS says otherwise; 0.0.0.0 is every address. Without --basic-auth, --auth or
    FLOWER_BASIC_AUTH a password is made up and printed.
    """
    with reported(as_json=False):
        monitor = _monitor()
        app, _ = app_of(context)
        monitor.run(app, arguments)


def _monitor() -> ModuleType:
    try:
        from pipeline.cli import monitor  # noqa: PLC0415 - Flower is an extra
    except ImportError as exc:
        raise Failure(
            f"{exc.name} is not installed: pip install 'celery-claimcheck-pipeline[flower]'"
        ) from exc
    return monitor

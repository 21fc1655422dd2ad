"""``pipeline flower``. Flower is an extra and is imported when the command runs."""

from types import ModuleType

import click

from pipeline.cli.app_option import app_of
from pipeline.cli.error_reports import reporting_errors
from pipeline.cli.exit_codes import Failure


@click.command("flower", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run Flower, with SQS queue lengths and authentication.

    Accepts Flower's own options and FLOWER_… variables. Listens on 127.0.0.1 unless --address or
    FLOWER_ADDRESS is set; 0.0.0.0 is every address. Without --basic-auth, --auth or FLOWER_BASIC_AUTH,
    a random password is generated and printed.
    """
    with reporting_errors(as_json=False):
        server = _flower_server()
        app, _ = app_of(context)
        server.run(app, arguments)


def _flower_server() -> ModuleType:
    try:
        from pipeline.cli import flower_server  # noqa: PLC0415 - Flower is an extra
    except ImportError as exc:
        raise Failure(
            f"{exc.name} is not installed: pip install 'celery-claimcheck-pipeline[flower]'"
        ) from exc
    return flower_server

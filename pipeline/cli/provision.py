"""``pipeline provision``."""

import click

from pipeline.admin.bucket import Bucket
from pipeline.admin.lifetimes import lifetimes
from pipeline.admin.provision import Resource, provision
from pipeline.cli.app_option import app_of
from pipeline.cli.error_reports import reports_errors
from pipeline.cli.output import show
from pipeline.stores.s3.store import S3Store
from pipeline.transport.queues import Queues


@click.command("provision")
@click.pass_context
@reports_errors
def command(context: click.Context, *, as_json: bool) -> None:
    """Create the bucket, queues and dead-letter queues of the app that do not exist.

    For development; in production use deploy/. A new bucket gets lifecycle rules. What exists is never
    changed: for a bucket without such rules, the command that adds them is printed.
    """
    app, claimcheck = app_of(context)
    store, times = claimcheck.store, list(lifetimes(app, claimcheck))
    with Queues(app) as queues:
        made = list(provision(store, queues, times))
    names = ("kind", "name", "created", "note")
    entries = [{name: getattr(each, name) for name in names} for each in made]
    command = None
    if isinstance(store, S3Store) and _lacks_rule(made):
        bucket = Bucket(store)
        command = bucket.lifecycle_command(bucket.completed(times))
    show(
        {"made": entries, "lifecycle_command": command},
        [names, *(tuple(entry.values()) for entry in entries)],
        as_json=as_json,
    )
    if command and not as_json:
        click.echo(
            f"\nThe bucket lacks a lifecycle rule for payloads or results; this command adds them:\n{command}"
        )


def _lacks_rule(made: list[Resource]) -> bool:
    return any(each.has_rule is False for each in made)

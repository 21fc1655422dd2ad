"""``pipeline provision``."""

import click

from pipeline.claimcheck import ClaimCheck
from pipeline.commands.frame import app_of, guarded, show
from pipeline.operations.provision import Made, provision
from pipeline.options import DAY_SECONDS
from pipeline.queues import Queues


@click.command("provision")
@click.pass_context
@guarded
def command(context: click.Context, *, as_json: bool) -> None:
    """Make the bucket, queues and dead-letter queues that the app names and that do not exist.

    For development: production has deploy/. What exists is never touched. Where the bucket has no lifecycle
    rule for payloads, the one to add is printed, as the library never writes a bucket's lifecycle.
    """
    app, claimcheck = app_of(context)
    with Queues(app) as queues:
        made = list(provision(claimcheck.store, queues))
    names = ("kind", "name", "created", "note")
    entries = [{name: getattr(each, name) for name in names} for each in made]
    rule = _lifecycle(claimcheck) if _lacks_rule(made) else None
    show(
        {"made": entries, "lifecycle_rule": rule},
        [names, *(tuple(entry.values()) for entry in entries)],
        as_json=as_json,
    )
    if rule and not as_json:
        click.echo(
            f"\nThe bucket has no lifecycle rule for payloads; add this one, of deploy/bucket.yaml:\n{rule}"
        )


def _lacks_rule(made: list[Made]) -> bool:
    return any(each.has_rule is False for each in made)


def _lifecycle(claimcheck: ClaimCheck) -> str:
    """Return the rule of ``deploy/bucket.yaml`` for this store; a test compares them."""
    prefix = f"{claimcheck.store.prefix}/" if claimcheck.store.prefix else '""'
    days = -(-claimcheck.options.payload_ttl_seconds // DAY_SECONDS)
    return f"""\
- Id: payloads
  Status: Enabled
  Prefix: {prefix}
  ExpirationInDays: {days}
  NoncurrentVersionExpiration:
    NoncurrentDays: 1
  AbortIncompleteMultipartUpload:
    DaysAfterInitiation: 1
"""

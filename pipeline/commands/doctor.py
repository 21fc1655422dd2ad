"""``pipeline doctor``."""

from typing import Any

import click

from pipeline.commands.failure import FINDINGS
from pipeline.commands.frame import app_of, guarded, leave, show
from pipeline.operations.doctor import Check, examine

_MARKS = {True: "✓", False: "✗", None: "?"}


@click.command("doctor")
@click.pass_context
@guarded
def command(context: click.Context, *, as_json: bool) -> None:
    """Check settings, store, bucket and queues one by one, and say how to mend each.

    Exits with 1 if something is wrong; what cannot be found out (?) is no finding.
    """
    app, claimcheck = app_of(context)
    checks = list(examine(app, claimcheck))
    rows = [(_MARKS[check.well], check.name, check.detail) for check in checks]
    show({"checks": [_as_json(check) for check in checks]}, rows, as_json=as_json)
    if not as_json:
        for check in checks:
            if not check.well:
                click.echo(f"\nto mend {check.name}:\n  {check.mend}")
    leave(FINDINGS if any(check.well is False for check in checks) else 0)


def _as_json(check: Check) -> dict[str, Any]:
    mend = "" if check.well else check.mend
    return {"name": check.name, "well": check.well, "detail": check.detail, "mend": mend}

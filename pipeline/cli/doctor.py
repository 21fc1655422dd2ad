"""``pipeline doctor``."""

from dataclasses import asdict
from typing import Any

import click

from pipeline.admin.doctor.all_checks import run_checks
from pipeline.admin.doctor.check import Check
from pipeline.cli.app_option import app_of, program
from pipeline.cli.error_reports import reports_errors
from pipeline.cli.exit_codes import FINDINGS, exit_with
from pipeline.cli.output import show

_MARKS = {True: "✓", False: "✗", None: "?"}


@click.command("doctor")
@click.pass_context
@reports_errors
def command(context: click.Context, *, as_json: bool) -> None:
    """Check settings, store, bucket and queues, and print how to fix each finding.

    Exits with 1 if there are findings. A check that could not be made (?) is no finding.
    """
    app, claimcheck = app_of(context)
    checks = list(run_checks(app, claimcheck, program(context)))
    rows = [(_MARKS[check.ok], check.name, check.detail) for check in checks]
    show({"checks": [_as_json(check) for check in checks]}, rows, as_json=as_json)
    if not as_json:
        for check in checks:
            if not check.ok:
                click.echo(f"\nto fix {check.name}:\n  {check.fix}")
                click.echo(f"{check.command}\n" if check.command else "", nl=False)
    exit_with(FINDINGS if any(check.ok is False for check in checks) else 0)


def _as_json(check: Check) -> dict[str, Any]:
    return asdict(check) | ({"fix": "", "command": ""} if check.ok else {})

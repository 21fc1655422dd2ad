"""``pipeline claim show``."""

from datetime import UTC, datetime
from typing import Any

import click

from pipeline.admin.dead_letter import stored_object
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.keys import ttl_days_of
from pipeline.cli.app_option import app_of
from pipeline.cli.error_reports import reports_errors
from pipeline.cli.exit_codes import FINDINGS, exit_with
from pipeline.cli.output import show
from pipeline.cli.tables import readable
from pipeline.errors import ClaimError, PayloadCorruptError


@click.group("claim")
def command() -> None:
    """Claims and their payloads."""


@command.command("show")
@click.argument("key")
@click.pass_context
@reports_errors
def show_command(context: click.Context, key: str, *, as_json: bool) -> None:
    """Describe the payload under KEY: whether it exists, its size and its age.

    Of a shared payload, shows how many tasks use it, and how many of them have ended. Lists the key and does
    not read the payload. Exits with 1 if there is no such payload.
    """
    _, claimcheck = app_of(context)
    shown = _shown(claimcheck, key)
    show(shown, [(name, readable(name, value)) for name, value in shown.items()], as_json=as_json)
    exit_with(0 if shown["there"] else FINDINGS)


def _shown(claimcheck: ClaimCheck, key: str) -> dict[str, Any]:
    store = claimcheck.store
    shown: dict[str, Any] = {
        "key": key,
        "ours": True,
        "there": False,
        "size_bytes": None,
        "modified": None,
        "age_seconds": None,
        "ttl_days": ttl_days_of(key, store.prefix),
        "uses": None,
        "uses_ended": None,
        "error": None,
    }
    try:
        found = stored_object(store, key)
    except ClaimError as exc:
        return shown | {"ours": False, "error": str(exc)}
    if found is None:
        return shown
    age = int((datetime.now(UTC) - found.modified).total_seconds())
    described = {
        "there": True,
        "size_bytes": found.size_bytes,
        "modified": found.modified,
        "age_seconds": age,
    }
    return shown | described | _uses(claimcheck, key)


def _uses(claimcheck: ClaimCheck, key: str) -> dict[str, Any]:
    try:
        uses = ledger.uses(claimcheck, key)
    except PayloadCorruptError as exc:
        return {"error": str(exc)}
    return {} if uses is None else {"uses": uses.members_count, "uses_ended": uses.ended_count}

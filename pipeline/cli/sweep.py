"""``pipeline sweep``."""

import re
from datetime import timedelta
from typing import Any

import click

from pipeline.admin import stale_listeners, sweep
from pipeline.admin.dead_letter_queues import DeadLetterQueues, NamedKeys
from pipeline.admin.stale_listeners import SweptListeners
from pipeline.admin.sweep import Ages, Swept
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.cli.app_option import app_of
from pipeline.cli.error_reports import reports_errors
from pipeline.cli.exit_codes import ERROR, FINDINGS, exit_with
from pipeline.cli.output import progress, show
from pipeline.cli.tables import readable
from pipeline.metrics.table import ORPHANS_FOUND
from pipeline.transport.queues import Queues

_AGE = re.compile(r"(\d{1,6})([smhd])\Z")
OLDEST = timedelta(days=36_500)
"""A century: dates before the year 1 do not exist in Python."""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Age(click.ParamType):  # type: ignore[type-arg] # not generic before click 8.2
    """A duration such as ``19d``, ``36h``, ``90m`` or ``0s``."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse the text."""
        matched = _AGE.match(str(value))
        if not matched:
            self.fail(f"{value!r} is not an age: expected for example 19d, 36h or 90m", param, ctx)
        age = timedelta(**{_UNITS[matched[2]]: int(matched[1])})
        if age > OLDEST:
            self.fail(f"{value!r} is too long: expected at most {OLDEST.days}d", param, ctx)
        return age


@click.command("sweep")
@click.option(
    "--older-than",
    type=Age(),
    help="Minimum age of an orphan. [default: the minimum for the app's queues, plus a day]",
)
@click.option(
    "--force-age", is_flag=True, help="Accept an age at which a message may still name the payload."
)
@click.option(
    "--delete",
    "do_delete",
    is_flag=True,
    help="Delete orphans and stale queues; without it, only count them.",
)
@click.pass_context
@reports_errors
def command(
    context: click.Context,
    *,
    older_than: timedelta | None,
    force_age: bool,
    do_delete: bool,
    as_json: bool,
) -> None:
    """Find payloads that no process will release, and queues of monitors that died.

    Such payloads are old, and no message names them; such queues were not renewed for a quarter of an hour.
    Exits with 1 if it found some and did not delete them all. Safe beside live traffic, and to repeat.
    Dead-letter queues are read, which raises the receive count of their messages; live queues are not.
    Nothing is deleted while one could not be read whole.
    """
    app, claimcheck = app_of(context)
    with Queues(app) as queues:
        least = Ages(
            sweep.minimum_age(queues),
            sweep.minimum_result_age(app, claimcheck.options.payload_ttl_seconds),
        )
        ages = _chosen(older_than, least)
        longest = max(least.payloads, least.results)
        is_young = older_than is not None and older_than < longest
        if is_young and not force_age:
            raise ValueError(
                f"--older-than is below {longest / timedelta(days=1):g} days, queue retention plus "
                "dead-letter queue retention or result_expires: a message or a result may still name such a "
                "payload; raise it, or add --force-age if you know that none does"
            )
        named = DeadLetterQueues(app, queues, claimcheck).named_keys()
        if named.unread and (is_young or (do_delete and not force_age)):
            raise ValueError(_not_read(named, is_forced=force_age))
        swept_listeners = stale_listeners.sweep(queues, do_delete=do_delete)
    swept = _run(claimcheck, ages, named, do_delete=do_delete)
    _report(swept, swept_listeners, ages, named, as_json=as_json)
    exit_with(_exit_code(swept, swept_listeners, do_delete=do_delete))


def _chosen(older_than: timedelta | None, least: Ages) -> Ages:
    if older_than is None:
        return Ages(least.payloads + sweep.MARGIN, least.results + sweep.MARGIN)
    return Ages(older_than, older_than)


def _not_read(named: NamedKeys, *, is_forced: bool) -> str:
    remedy = (
        "raise --older-than" if is_forced else "add --force-age if you know that they name no old payload"
    )
    return (
        f"not all messages could be read of {', '.join(named.unread)}: another consumer has them in flight, "
        "they wait behind others of a FIFO queue, or their claims have another signing key or version; "
        f"try again when they are visible, see pipeline dlq show, or {remedy}"
    )


def _run(claimcheck: ClaimCheck, ages: Ages, named: NamedKeys, *, do_delete: bool) -> Swept:
    swept, store = Swept(), claimcheck.store
    found = sweep.orphans(store, ages, named.keys, swept)
    with progress("orphans") as advance:
        for count in sweep.delete(store, found, swept) if do_delete else (1 for _ in found):
            advance(count)
    claimcheck.recorder.record(ORPHANS_FOUND, swept.orphans)
    return swept


def _report(
    swept: Swept, swept_listeners: SweptListeners, ages: Ages, named: NamedKeys, *, as_json: bool
) -> None:
    counts = _counts(swept, swept_listeners)
    value = {
        "older_than_seconds": ages.payloads.total_seconds(),
        "results_older_than_seconds": ages.results.total_seconds(),
        "unread_queues": named.unread,
        **counts,
    }
    rows = [
        ("older than", f"{ages.payloads / timedelta(days=1):g} days"),
        ("results older than", f"{ages.results / timedelta(days=1):g} days"),
        ("unread queues", ", ".join(named.unread)),
        *counts.items(),
    ]
    show(value, [(name.replace("_", " "), readable(name, each)) for name, each in rows], as_json=as_json)


def _counts(swept: Swept, swept_listeners: SweptListeners) -> dict[str, Any]:
    return {
        "objects": swept.objects,
        "foreign": swept.foreign,
        "young": swept.young,
        "named": swept.named,
        "orphans": swept.orphans,
        "orphan_bytes": swept.orphan_bytes,
        "deleted": swept.deleted,
        "failed": len(swept.failed),
        "listeners": swept_listeners.listeners,
        "stale_listeners": swept_listeners.stale,
        "removed_listeners": swept_listeners.removed,
        "listeners_error": swept_listeners.error,
    }


def _exit_code(swept: Swept, swept_listeners: SweptListeners, *, do_delete: bool) -> int:
    if swept.failed:
        return ERROR
    if do_delete:
        return FINDINGS if swept_listeners.error or swept_listeners.removed < swept_listeners.stale else 0
    return FINDINGS if swept.orphans or swept_listeners.stale else 0

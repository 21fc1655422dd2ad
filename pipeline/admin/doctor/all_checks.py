"""Runs all checks of ``pipeline doctor``; has those of settings, lifecycle, clock, remote control.

The checks write one small object under the store's prefix, and create a queue for the replies of workers.
Both are deleted at the end.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from kombu.exceptions import KombuError

from pipeline import time_chain
from pipeline.admin.bucket import Bucket, is_about
from pipeline.admin.doctor.check import Check
from pipeline.admin.doctor.misspelled_settings import misspelled_settings
from pipeline.admin.doctor.queue_checks import check_queues
from pipeline.admin.doctor.store_checks import check_store
from pipeline.admin.lifetimes import Lifetime, lifetimes
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import StoreError
from pipeline.serializer import serializer
from pipeline.stores.s3.store import S3Store
from pipeline.transport import sqs_errors
from pipeline.transport.fanout.exchanges import fans_out

SKEW_LIMIT_SECONDS = 60
"""S3 rejects requests whose time is 15 minutes off; a minute shows that the clock is not synchronised."""

STORE_FIRST = "fix the store first"
"""Remedy of a check that needs the store, when the store has its own finding."""

ANSWER_SECONDS = (2, 4, 8)
"""Timeouts of the pings to workers. The next one is tried if no worker answered: on a busy machine they are
late."""


def run_checks(app: Any, claimcheck: ClaimCheck, program: str) -> Iterator[Check]:
    """Run all checks, and yield them in the order in which to fix them. Raises none of the library's errors.

    Args:
        app: the Celery app.
        claimcheck: its claim check.
        program: the ``pipeline`` command for this app, for remedies.
    """
    yield from check_settings(app, claimcheck)
    yield from check_store(claimcheck.store, program)
    if isinstance(claimcheck.store, S3Store):
        bucket, every = Bucket(claimcheck.store), list(lifetimes(app, claimcheck))
        yield from (_check_lifecycle(bucket, each, every) for each in every if each.is_used)
        yield check_clock(bucket)
    yield from check_queues(app, claimcheck, program)
    yield from check_remote_control(app)


def check_settings(app: Any, claimcheck: ClaimCheck) -> Iterator[Check]:
    """Check serializer, content types and misspelled settings."""
    fix = "call pipeline.install(app, …) after the app has read its configuration"
    writes, reads = app.conf.task_serializer, app.conf.accept_content
    if claimcheck.options.publish:
        yield Check("task_serializer", writes == serializer.NAME, f"{writes}", fix)
    for name, meant in misspelled_settings(app.conf):
        detail = f"Celery does not read it; did you mean {meant}?"
        yield Check(f"setting {name}", False, detail, f"rename it to {meant}")  # noqa: FBT003
    yield Check("accept_content", serializer.NAME in reads, ", ".join(reads), fix)


def check_clock(bucket: Bucket) -> Check:
    """Check that this machine's clock agrees with S3's."""
    try:
        skew = bucket.skew_seconds()
    except StoreError as exc:
        return Check("clock", None, str(exc), STORE_FIRST)
    is_ok = abs(skew) <= SKEW_LIMIT_SECONDS
    return Check("clock", is_ok, f"{skew:+.0f} s", "set this machine's clock:", "sudo chronyc makestep")


def _check_lifecycle(bucket: Bucket, lifetime: Lifetime, every: Sequence[Lifetime]) -> Check:
    name = lifetime.check
    try:
        whole, parts = bucket.expiries(bucket.rules(), lifetime.folder)
        soonest = min(whole + parts, default=None)
        detail = "no rule" if soonest is None else f"expires after {_days(soonest)}"
        if lifetime.is_kept(whole, parts):
            return Check(name, True, detail)  # noqa: FBT003
        added = bucket.completed(every)
    except StoreError as exc:
        fix = (
            "allow s3:GetLifecycleConfiguration for this check"
            if is_about(exc, "AccessDenied")
            else STORE_FIRST
        )
        return Check(name, None, str(exc), fix)
    if lifetime.is_kept(*bucket.expiries(added, lifetime.folder)):
        fix = f"add a rule for {_days(lifetime.days)}; this keeps the bucket's other rules:"
        return Check(name, False, detail, fix, bucket.lifecycle_command(added))  # noqa: FBT003
    fix = f"another rule expires {lifetime.name} sooner: raise it to {_days(lifetime.days)}, or limit it"
    return Check(name, False, detail, fix)  # noqa: FBT003


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def check_remote_control(app: Any) -> Iterator[Check]:
    """Ping the workers as monitors do: the request goes over SNS, the replies over a queue of the caller."""
    options = app.conf.broker_transport_options
    is_over_sns = time_chain.scheme_of(app) == "sqs" and fans_out(options)
    if not (is_over_sns and app.conf.worker_enable_remote_control):
        return
    name, fix = (
        "remote control",
        (
            "check region and credentials, allow the actions of docs/operate/monitoring.md, "
            "or set supports_fanout to False"
        ),
    )
    try:
        answers = (app.control.inspect(timeout=seconds).ping() for seconds in ANSWER_SECONDS)
        answered: dict[str, Any] = next(filter(None, answers), {})
    except KombuError as exc:
        yield Check(name, False, str(exc), fix)  # noqa: FBT003
    except sqs_errors.FAILURES as exc:  # Kombu's channel lets them through when it connects
        yield Check(name, False, f"the ping was not sent: AWS answered {sqs_errors.code(exc)}", fix)  # noqa: FBT003
    else:
        yield Check(name, bool(answered) or None, f"workers that answered: {len(answered)}", "start a worker")

"""Checks, one by one, of what must hold before work can flow; each says how to fix what does not.

Nothing is changed but one small object under the prefix, and a queue for workers' answers; both are removed
again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from kombu.exceptions import KombuError

from pipeline import time_chain
from pipeline.admin.bucket import Bucket, is_about
from pipeline.admin.doctor.check import Check
from pipeline.admin.doctor.misnamed import misnamed
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
"""S3 refuses requests that are 15 minutes off; a minute is already a clock that nobody keeps."""

STORE_FIRST = "fix the store first"
"""Remedy where a check needs the store, and the store has a finding of its own."""

ANSWER_SECONDS = (2, 4, 8)
"""How long workers have to answer; they are asked again until one does, for a busy machine's are late."""


def examine(app: Any, claimcheck: ClaimCheck, program: str) -> Iterator[Check]:
    """Yield all checks, in the order in which to fix them. Raises none of our errors.

    Args:
        app: the Celery app.
        claimcheck: what is installed there.
        program: the ``pipeline`` command for this app, to be printed.
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
    """Check serializer and content types."""
    fix = "call pipeline.install(app, …) after the app has read its configuration"
    writes, reads = app.conf.task_serializer, app.conf.accept_content
    if claimcheck.options.publish:
        yield Check("task_serializer", writes == serializer.NAME, f"{writes}", fix)
    for name, meant in misnamed(app.conf):
        said = f"nothing reads it; did you mean {meant}?"
        yield Check(f"setting {name}", False, said, f"rename it to {meant}")  # noqa: FBT003
    yield Check("accept_content", serializer.NAME in reads, ", ".join(reads), fix)


def check_clock(bucket: Bucket) -> Check:
    """Check how far this machine's clock is from S3's."""
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
        said = "no rule" if soonest is None else f"expires after {_days(soonest)}"
        if lifetime.is_kept(whole, parts):
            return Check(name, True, said)  # noqa: FBT003
        added = bucket.completed(every)
    except StoreError as exc:
        fix = "allow s3:GetLifecycleConfiguration, to know" if is_about(exc, "AccessDenied") else STORE_FIRST
        return Check(name, None, str(exc), fix)
    if lifetime.is_kept(*bucket.expiries(added, lifetime.folder)):
        fix = f"add a rule for {_days(lifetime.days)}; this keeps the bucket's other rules:"
        return Check(name, False, said, fix, bucket.lifecycle_command(added))  # noqa: FBT003
    fix = f"another rule ends {lifetime.name} sooner: give it {_days(lifetime.days)}, or a prefix of its own"
    return Check(name, False, said, fix)  # noqa: FBT003


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def check_remote_control(app: Any) -> Iterator[Check]:
    """Ask who is there, as every monitor does: over SNS, and back over a queue of one's own."""
    options = app.conf.broker_transport_options
    is_over_sns = time_chain.scheme_of(app) == "sqs" and fans_out(options)
    if not (is_over_sns and app.conf.worker_enable_remote_control):
        return
    name, fix = (
        "remote control",
        (
            "check region and credentials, allow what docs/operate/monitoring.md says, "
            "or set supports_fanout to False"
        ),
    )
    try:
        asked = (app.control.inspect(timeout=seconds).ping() for seconds in ANSWER_SECONDS)
        answered: dict[str, Any] = next(filter(None, asked), {})
    except KombuError as exc:
        yield Check(name, False, str(exc), fix)  # noqa: FBT003
    except sqs_errors.FAILURES as exc:  # Kombu's channel lets them through when it connects
        yield Check(name, False, f"no worker could be asked: AWS answered {sqs_errors.code(exc)}", fix)  # noqa: FBT003
    else:
        yield Check(name, bool(answered) or None, f"workers that answer: {len(answered)}", "start a worker")

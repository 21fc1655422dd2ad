"""Checks, one by one, of what must hold before work can flow; each says what to run to mend it.

Nothing is changed but one small object under the prefix, and a queue for workers' answers; both are removed
again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kombu.exceptions import KombuError

from pipeline import serializer, timechain
from pipeline.claim import new_key
from pipeline.claimcheck import ClaimCheck
from pipeline.errors import PayloadMissingError, StoreError, StoreUnavailableError
from pipeline.operations.bucket import Bucket, is_about
from pipeline.operations.misnamed import misnamed
from pipeline.operations.permissions import denied
from pipeline.options import DAY_SECONDS, SQS_RETENTION_LIMIT_SECONDS
from pipeline.queues import Queue, QueueError, Queues
from pipeline.store import Store
from pipeline.stores.s3 import S3Store
from pipeline.transport import answers
from pipeline.transport.fanout import fans_out

SKEW_LIMIT_SECONDS = 60
"""S3 refuses requests that are 15 minutes off; a minute is already a clock that nobody keeps."""

QUEUE_SECONDS = 4 * DAY_SECONDS
"""What SQS itself gives a queue as retention. Source: SQS API Reference, CreateQueue."""

CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
"""Codes of S3's that stand for what it says of wrong credentials."""

PROBE = b"claimcheck"
ANSWER_SECONDS = (2, 4, 8)
"""How long workers have to answer; they are asked again until one does, for a busy machine's are late."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and how it is."""

    name: str
    well: bool | None
    """``None``: it could not be found out."""
    detail: str = ""
    mend: str = ""
    """What to run or to allow."""


def examine(app: Any, claimcheck: ClaimCheck) -> Iterator[Check]:
    """Yield all checks, in the order in which to mend them. Raises none of our errors."""
    yield from check_settings(app, claimcheck)
    yield from check_store(claimcheck.store)
    if isinstance(claimcheck.store, S3Store):
        yield from check_bucket(Bucket(claimcheck.store), claimcheck.options.payload_ttl_seconds)
    yield from check_queues(app, claimcheck)
    yield from check_remote_control(app)


def check_settings(app: Any, claimcheck: ClaimCheck) -> Iterator[Check]:
    """Check serializer and content types."""
    mend = "call pipeline.install(app, …) after the app has read its configuration"
    writes = app.conf.task_serializer
    if claimcheck.options.publish:
        yield Check("task_serializer", writes == serializer.NAME, f"{writes}", mend)
    for name, meant in misnamed(app.conf):
        said = f"nothing reads it; did you mean {meant}?"
        yield Check(f"setting {name}", False, said, f"rename it to {meant}")  # noqa: FBT003
    yield Check(
        "accept_content", serializer.NAME in app.conf.accept_content, f"{app.conf.accept_content}", mend
    )


def check_store(store: Store) -> Iterator[Check]:
    """Check that it answers, credentials, the bucket, and each permission with an object of our own."""
    failures = _failures(store)
    errors = [error for error in failures.values() if error]
    lost = next((error for error in errors if isinstance(error, StoreUnavailableError)), None)
    if lost and not is_about(lost, *CREDENTIALS):
        yield Check("store", False, str(lost), "check endpoint, region and network")  # noqa: FBT003
        return
    for name, codes, mend in (
        ("credentials", CREDENTIALS, "aws configure, or give this process a role"),
        (
            "bucket",
            ("NoSuchBucket",),
            "make it as deploy/README.md says, or for development: pipeline provision",
        ),
    ):
        error = next((error for error in errors if is_about(error, *codes)), None)
        yield Check(name, error is None, str(error or ""), mend)
        if error:
            return
    for action, error in failures.items():
        mend = f"allow {action} as in deploy/iam-worker.json"
        yield Check(action, error is None, str(error or ""), mend)


def _failures(store: Store) -> dict[str, StoreError | None]:
    """Return what each action led to; a store that does not answer the first is asked no more."""
    key, failures = new_key(store.prefix), dict[str, StoreError | None]()
    failures["s3:ListBucket"] = _failure(lambda: next(iter(store.list()), None))
    if not isinstance(failures["s3:ListBucket"], StoreUnavailableError):
        failures["s3:PutObject"] = _failure(lambda: store.put(key, PROBE, {}))
        failures["s3:GetObject"] = _failure(lambda: store.get(key, len(PROBE)))
        failures["s3:DeleteObject"] = _failure(lambda: _delete(store, key))
    return failures


def _failure(call: Any) -> StoreError | None:
    try:
        call()
    except PayloadMissingError:
        return None  # the put failed, and this answer needed the permission to get
    except StoreError as exc:
        return exc
    return None


def _delete(store: Store, key: str) -> None:
    if store.delete([key]):
        raise StoreError(f"not deleted [key={key}]: delete it by hand")


def check_bucket(bucket: Bucket, ttl_seconds: int) -> Iterator[Check]:
    """Check lifecycle rule and clock."""
    wanted = ttl_seconds / DAY_SECONDS
    mend = (
        f"add the rule of deploy/bucket.yaml, for {wanted:g} days or more, to the bucket's own ones: "
        f"aws s3api put-bucket-lifecycle-configuration --bucket {bucket.name} --lifecycle-configuration …"
    )
    try:
        whole, parts = bucket.expiries()
    except StoreError as exc:
        yield Check("lifecycle rule", None, str(exc), "allow s3:GetLifecycleConfiguration, to know")
    else:
        soonest = min(whole + parts, default=None)
        said = "no rule" if soonest is None else f"expires after {soonest} days"
        yield Check("lifecycle rule", bool(whole) and min(whole + parts) >= wanted, said, mend)
    try:
        skew = bucket.skew_seconds()
    except StoreError as exc:
        yield Check("clock", None, str(exc), "mend the store first")
    else:
        yield Check("clock", abs(skew) <= SKEW_LIMIT_SECONDS, f"{skew:+.0f} s", "sudo chronyc makestep")


def check_queues(app: Any, claimcheck: ClaimCheck) -> Iterator[Check]:
    """Check each queue that the app names."""
    try:
        with Queues(app) as queues:
            for name in queues.names():
                yield from check_queue(app, claimcheck, queues, name)
    except QueueError as exc:
        yield Check("queues", False, str(exc), exc.mend)  # noqa: FBT003
    except ValueError as exc:
        yield Check("queues", None, str(exc), "none: only queues of SQS can be asked")


def check_remote_control(app: Any) -> Iterator[Check]:
    """Ask who is there, as every monitor does: over SNS, and back over a queue of one's own."""
    options = app.conf.broker_transport_options
    is_over_sns = timechain.scheme_of(app) == "sqs" and fans_out(options)
    if not (is_over_sns and app.conf.worker_enable_remote_control):
        return
    name, mend = (
        "remote control",
        "check region and credentials, allow what docs/monitoring.md says, or set supports_fanout to False",
    )
    try:
        asked = (app.control.inspect(timeout=seconds).ping() for seconds in ANSWER_SECONDS)
        answered: dict[str, Any] = next(filter(None, asked), {})
    except KombuError as exc:
        yield Check(name, False, str(exc), mend)  # noqa: FBT003
    except answers.FAILURES as exc:  # Kombu's channel lets them through when it connects
        yield Check(name, False, f"no worker could be asked: AWS answered {answers.code(exc)}", mend)  # noqa: FBT003
    else:
        yield Check(name, bool(answered) or None, f"workers that answer: {len(answered)}", "start a worker")


def check_queue(app: Any, claimcheck: ClaimCheck, queues: Queues, name: str) -> Iterator[Check]:
    """Check one queue, what we may do there, its dead-letter queue, and its times."""
    queue = queues.find(name)
    mend = "make it as deploy/README.md says, or for development: pipeline provision"
    yield Check(f"queue {name}", queue is not None, "" if queue else "not there", mend)
    if queue is None:
        return
    yield _check_permissions(queue)
    dead = queues.dead_letters_of(queue)
    yield _check_dead_letters(queue, dead)
    if dead is not None and not queue.is_fifo:  # there a dead letter's days start anew
        yield _check_retention(queue, dead)
    yield _check_times(app, claimcheck, queue)


def _check_permissions(queue: Queue) -> Check:
    actions = ", ".join(denied(queue))
    said = f"denied: {actions}" if actions else ""
    return Check(
        f"permissions of {queue.name}", not actions, said, f"allow {actions} as in deploy/iam-worker.json"
    )


def _check_dead_letters(queue: Queue, dead: Queue | None) -> Check:
    policy = queue.redrive_policy
    said = f"{dead.name} after {policy.get('maxReceiveCount')} receives" if dead else "no redrive policy"
    if policy and dead is None:
        said = f"its dead-letter queue does not exist: {policy.get('deadLetterTargetArn')}"
    attributes = '\'{"RedrivePolicy": "{\\"deadLetterTargetArn\\": \\"…\\", \\"maxReceiveCount\\": 5}"}\''
    return Check(f"dead letters of {queue.name}", dead is not None, said, _set(queue, attributes))


def _check_retention(queue: Queue, dead: Queue) -> Check:
    """SQS counts a dead letter's days from when it was first sent."""
    waiting, kept = (each.number("MessageRetentionPeriod") for each in (queue, dead))
    said = f"{waiting / DAY_SECONDS:g} days, then {kept / DAY_SECONDS:g}"
    mend = _set(dead, f"MessageRetentionPeriod={SQS_RETENTION_LIMIT_SECONDS}")
    if kept >= SQS_RETENTION_LIMIT_SECONDS:  # the queue keeps too much
        mend = _set(queue, f"MessageRetentionPeriod={QUEUE_SECONDS}")
    return Check(f"retention of {queue.name}", kept > waiting, said, mend)


def _check_times(app: Any, claimcheck: ClaimCheck, queue: Queue) -> Check:
    """Ask ``timechain``, the one place that knows, about the queue as it really is."""
    as_it_is = _Seen(app, queue)
    visibility = queue.number("VisibilityTimeout")
    try:
        timechain.check_app(as_it_is, claimcheck.options, "sqs")
        timechain.check_tasks(as_it_is)
    except ValueError as exc:
        return Check(f"times of {queue.name}", False, str(exc), _set(queue, "VisibilityTimeout=…"))  # noqa: FBT003
    return Check(f"times of {queue.name}", True, f"visibility timeout {visibility} s")  # noqa: FBT003


def _set(queue: Queue, attributes: str) -> str:
    return f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes {attributes}"


class _Seen:
    """An app, and its configuration too, which has one queue: one that is there, as it is."""

    def __init__(self, app: Any, queue: Queue) -> None:
        self._inner = app
        options = app.conf.broker_transport_options
        attributes = dict(options.get("sqs-creation-attributes") or {})
        attributes["MessageRetentionPeriod"] = queue.number("MessageRetentionPeriod")
        seen = {
            **options,
            "visibility_timeout": queue.number("VisibilityTimeout"),
            "sqs-creation-attributes": attributes,
            "predefined_queues": None,
        }
        self._conf = _Conf(app.conf, seen, queue.name)

    @property
    def conf(self) -> "_Conf":
        """The configuration."""
        return self._conf

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass(frozen=True)
class _Conf:
    inner: Any
    broker_transport_options: dict[str, Any]
    task_default_queue: str
    task_queues: None = None
    task_routes: None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

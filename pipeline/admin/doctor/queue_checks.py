"""Checks of the app's queues: existence, permissions, dead-letter queue, retention and time chain."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import time_chain
from pipeline.admin.doctor.check import Check
from pipeline.admin.doctor.permissions import denied
from pipeline.aws.limits import (
    SQS_IN_FLIGHT_COUNT,
    SQS_RETENTION_DEFAULT_SECONDS,
    SQS_RETENTION_LIMIT_SECONDS,
)
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.options import DAY_SECONDS
from pipeline.transport.addressing import MAX_RECEIVE_COUNT, dead_letter_name
from pipeline.transport.queues import IN_FLIGHT, Queue, QueueError, Queues

IN_FLIGHT_SHARE = 0.8
"""Share of SQS's limit from which on messages in flight are a finding; the alarm InFlight has the same."""


def check_queues(app: Any, claimcheck: ClaimCheck, program: str) -> Iterator[Check]:
    """Check each queue that the app names."""
    try:
        with Queues(app) as queues:
            for name in queues.names():
                yield from check_queue(app, claimcheck, queues, name, program)
    except QueueError as exc:
        yield Check("queues", False, str(exc), exc.fix)  # noqa: FBT003
    except ValueError as exc:
        yield Check("queues", None, str(exc), "none: only queues of SQS can be checked")


def check_queue(app: Any, claimcheck: ClaimCheck, queues: Queues, name: str, program: str) -> Iterator[Check]:
    """Check one queue: existence, permissions, dead-letter queue, retention and time chain."""
    queue = queues.find(name)
    if queue is None:
        fix = "create it as deploy/README.md says; for development:"
        yield Check(f"queue {name}", False, "does not exist", fix, f"{program} provision")  # noqa: FBT003
        return
    yield Check(f"queue {name}", True)  # noqa: FBT003
    yield _check_permissions(queue)
    dead = queues.dead_letters_of(queue)
    yield _check_dead_letters(queue, dead)
    if dead is not None and not queue.is_fifo:  # there the age restarts in the dead-letter queue
        yield _check_retention(queue, dead)
    yield _check_times(app, claimcheck, queue)
    yield _check_in_flight(queue)


def _check_in_flight(queue: Queue) -> Check:
    """Check that SQS still delivers: at its limit of messages in flight it does not."""
    count = queue.number(IN_FLIGHT)
    fix = "lower worker_prefetch_multiplier, or spread the tasks over several queues"
    detail = f"{count:,} of {SQS_IN_FLIGHT_COUNT:,}"
    return Check(f"in flight of {queue.name}", count < IN_FLIGHT_SHARE * SQS_IN_FLIGHT_COUNT, detail, fix)


def _check_permissions(queue: Queue) -> Check:
    actions = ", ".join(denied(queue))
    detail = f"denied: {actions}" if actions else ""
    return Check(
        f"permissions of {queue.name}", not actions, detail, f"allow {actions} as in deploy/roles.yaml"
    )


def _check_dead_letters(queue: Queue, dead: Queue | None) -> Check:
    policy = queue.redrive_policy
    detail = f"{dead.name} after {policy.get('maxReceiveCount')} receives" if dead else "no redrive policy"
    if policy and dead is None:
        detail = f"its dead-letter queue does not exist: {policy.get('deadLetterTargetArn')}"
    fix = "create a dead-letter queue, and name it in the queue's redrive policy:"
    command = "" if dead else f"{_create_dead(queue)} && {_set(queue, RedrivePolicy=_redrive_policy(queue))}"
    return Check(f"dead letters of {queue.name}", dead is not None, detail, fix, command)


def _create_dead(queue: Queue) -> str:
    attributes = {"MessageRetentionPeriod": str(SQS_RETENTION_LIMIT_SECONDS)}
    if queue.is_fifo:
        attributes["FifoQueue"] = "true"
    words = ("--queue-name", dead_letter_name(queue.name), "--attributes", json.dumps(attributes))
    return shlex.join(("aws", "sqs", "create-queue", *words))


def _redrive_policy(queue: Queue) -> str:
    arn = queue.attributes["QueueArn"].removesuffix(queue.name) + dead_letter_name(queue.name)
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT})


def _check_retention(queue: Queue, dead: Queue) -> Check:
    """Check that dead letters are kept longer: on standard queues SQS counts from the first send."""
    waiting, kept = (each.number("MessageRetentionPeriod") for each in (queue, dead))
    detail = f"{waiting / DAY_SECONDS:g} days, then {kept / DAY_SECONDS:g}"
    fix = "raise the retention of the dead-letter queue:"
    command = _set(dead, MessageRetentionPeriod=SQS_RETENTION_LIMIT_SECONDS)
    if kept >= SQS_RETENTION_LIMIT_SECONDS:
        fix = "the dead-letter queue has SQS's longest retention: lower that of the queue:"
        command = _set(queue, MessageRetentionPeriod=SQS_RETENTION_DEFAULT_SECONDS)
    return Check(f"retention of {queue.name}", kept > waiting, detail, fix, command)


def _check_times(app: Any, claimcheck: ClaimCheck, queue: Queue) -> Check:
    """Check the time chain with the attributes that the queue has."""
    actual = _AppWithQueue(app, queue)
    visibility = queue.number("VisibilityTimeout")
    try:
        time_chain.check_app(actual, claimcheck.options, "sqs")
        time_chain.check_tasks(actual)
    except ValueError as exc:
        fix = "change the setting that it names, in the app or in the queue"
        return Check(f"times of {queue.name}", False, str(exc), fix)  # noqa: FBT003
    return Check(f"times of {queue.name}", True, f"visibility timeout {visibility} s")  # noqa: FBT003


def _set(queue: Queue, **attributes: Any) -> str:
    texts = json.dumps({name: str(value) for name, value in attributes.items()})
    words = ("--queue-url", queue.url, "--attributes", texts)
    return shlex.join(("aws", "sqs", "set-queue-attributes", *words))


class _AppWithQueue:
    """An app whose configuration names one queue, with the attributes that the queue has."""

    def __init__(self, app: Any, queue: Queue) -> None:
        self._inner = app
        options = app.conf.broker_transport_options
        attributes = dict(options.get("sqs-creation-attributes") or {})
        attributes["MessageRetentionPeriod"] = queue.number("MessageRetentionPeriod")
        options_of_queue = {
            **options,
            "visibility_timeout": queue.number("VisibilityTimeout"),
            "sqs-creation-attributes": attributes,
            "predefined_queues": None,
        }
        self._conf = _Conf(app.conf, options_of_queue, queue.name)

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

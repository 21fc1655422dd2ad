"""``@idempotent``: a call that is delivered twice runs once, and both deliveries have the same result.

The decorator goes under ``@app.task``, and works in the process that runs the task::

    @app.task
    @idempotent
    def charge(order): ...

Before the function runs, a record marks it as in progress; afterwards the record holds the result. Both
are conditional writes to the store (``claimcheck/signed_record.py``), so of two deliveries at the same time
one succeeds. What it costs, what it cannot do, and why it is not AWS Powertools': docs/howto/idempotency.md.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, overload

from celery import Task, current_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from kombu.utils.json import dumps

from pipeline.aws.limits import SQS_VISIBILITY_LIMIT_SECONDS
from pipeline.claimcheck import signed_record
from pipeline.claimcheck.claim import Inline
from pipeline.deferred import running
from pipeline.deferred.child_pipe import reuses
from pipeline.deferred.soft_time_limit import out_of_time, reraising_soft_limit
from pipeline.errors import PipelineError
from pipeline.idempotency.execution import Attempt
from pipeline.metrics import table as metrics
from pipeline.serializer import serializer
from pipeline.stores.records import records_of
from pipeline.telemetry import log_lines

P = ParamSpec("P")
R = TypeVar("R")
Key = str | Callable[..., Any]

logger = log_lines.logger(__name__)

MARGIN_SECONDS = 60.0
"""Added to a hard time limit: clocks of two machines differ, and a process needs time to die."""

LONGEST_SECONDS = float(SQS_VISIBILITY_LIMIT_SECONDS)
"""How long a call without a hard time limit may be in progress: as long as SQS can hide its message."""


class GivenBack(Reject, Ignore):  # type: ignore[misc] # Celery is untyped
    """Ends this delivery without a result. Celery treats it as a ``Reject``.

    It is an ``Ignore`` too because ``autoretry_for`` lets that through, and would turn a ``Reject`` into a
    retry. Source: celery 5.7.0, ``app/autoretry.py`` and ``app/trace.py``.
    """


@overload
def idempotent(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def idempotent(
    *,
    key: Key | None = None,
    in_progress_seconds: float | None = None,
    keep_seconds: float | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def idempotent(
    function: Callable[..., Any] | None = None,
    /,
    *,
    key: Key | None = None,
    in_progress_seconds: float | None = None,
    keep_seconds: float | None = None,
) -> Any:
    """Make a task's function run once for each message, or for each key.

    Only the run of the task itself is guarded, by a worker. Called as a function, by other code or by another
    task, or run eagerly, it just runs: there is no message that could come twice.

    Args:
        function: the function below ``@app.task``.
        key: what identifies a call: the name of a parameter, or a function of the call's arguments. By
            default the task id, so that only a second *delivery* of one message is ignored.
        in_progress_seconds: after that long without an end, a run counts as dead and another may begin: must
            be longer than it can run. By default the hard time limit and a minute, or else 12 hours.
        keep_seconds: how long a result counts. By default, and at most, ``payload_ttl_seconds``, as the
            bucket's lifecycle rule removes the record then.

    Raises:
        ValueError: something is set that cannot work; when the module is imported.
    """
    if function is None:
        return partial(
            _decorated, key=key, in_progress_seconds=in_progress_seconds, keep_seconds=keep_seconds
        )
    return _decorated(function, key=key, in_progress_seconds=in_progress_seconds, keep_seconds=keep_seconds)


def _decorated(function: Callable[P, R], **settings: Any) -> Callable[P, R]:
    rule = _Rule(function, **settings)

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        task = _running(function)
        run = partial(function, *args, **kwargs)
        return run() if task is None else _run(rule.attempt(task, args, kwargs), run)

    # Celery checks a call's arguments against this one, and looks no further down.
    guarded.__signature__ = rule.signature  # type: ignore[attr-defined]
    return guarded


def _running(function: Callable[..., Any]) -> Task | None:
    """Return the task whose message is being worked on, if ``function`` is what that task runs."""
    if not current_task:
        return None
    task = current_task._get_current_object()  # noqa: SLF001 - how Celery's proxies are opened
    request = task.request
    delivered = request.id and not request.called_directly and not request.is_eager
    return task if delivered and inspect.unwrap(task.run) is inspect.unwrap(function) else None


@dataclass(frozen=True, slots=True)
class _Rule:
    """Arguments of the decorator, checked."""

    function: Callable[..., Any]
    key: Key | None
    in_progress_seconds: float | None
    keep_seconds: float | None
    signature: inspect.Signature = field(init=False)

    def __post_init__(self) -> None:
        name = getattr(self.function, "__name__", repr(self.function))
        if hasattr(self.function, "apply_async"):
            raise ValueError(f"@idempotent is above the task decorator of {name}: put it below")
        object.__setattr__(self, "signature", inspect.signature(self.function))
        if isinstance(self.key, str) and self.key not in self.signature.parameters:
            raise ValueError(f"@idempotent(key={self.key!r}): {name} has no such parameter")
        for seconds in (self.in_progress_seconds, self.keep_seconds):
            if seconds is not None and seconds <= 0:
                raise ValueError(f"@idempotent of {name}: {seconds} seconds; expected more than 0")

    def attempt(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Attempt:
        """Prepare to run a delivery. Does no I/O.

        Raises:
            ValueError: the call has no key, or the store keeps no records.
            ClaimError: ``pipeline.install`` was not called.
        """
        claimcheck = serializer.installed()
        ttl_seconds = claimcheck.options.payload_ttl_seconds
        return Attempt(
            claimcheck=claimcheck,
            records=records_of(claimcheck.store),
            key=signed_record.record_key(claimcheck.store.prefix, task.name, self._text(task, args, kwargs)),
            log_fields=running.fields(),
            in_progress=timedelta(seconds=self.in_progress_seconds or _longest_run_seconds(task)),
            keep=timedelta(seconds=min(self.keep_seconds or ttl_seconds, ttl_seconds)),
        )

    def _text(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the text that is the same for the same call; no error may show it."""
        try:
            value = self._value(task, args, kwargs)
            if value is None or value == "":
                raise ValueError(f"the key of this call of {task.name} is empty: it must identify the call")
            return str(dumps(_unambiguous(value)))  # type: ignore[no-untyped-call]
        except TypeError as exc:
            raise ValueError(f"the key of this call of {task.name} is no plain value: {exc}") from None

    def _value(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self.key is None:
            return task.request.id
        if isinstance(self.key, str):
            call = self.signature.bind(*args, **kwargs)
            call.apply_defaults()
            return call.arguments[self.key]
        is_bound = bool(args) and args[0] is task  # ``bind=True``: no argument of the caller's
        return self.key(*args[is_bound:], **kwargs)


def _unambiguous(value: Any) -> Any:
    """Return a value whose JSON is the same for equal values alone, whatever the order of dicts and sets.

    JSON makes text of other keys, so ``{1: 2}`` and ``{"1": 2}`` would be one call, and it has no sets.
    """
    if isinstance(value, Mapping):
        pairs = [[_unambiguous(key), _unambiguous(child)] for key, child in value.items()]
        return {"dict": sorted(pairs, key=dumps)}
    if isinstance(value, set | frozenset):
        return {type(value).__name__: sorted(map(_unambiguous, value), key=dumps)}
    if isinstance(value, list | tuple):
        return [_unambiguous(child) for child in value]
    return {"timedelta": str(value)} if isinstance(value, timedelta) else value


def _longest_run_seconds(task: Task) -> float:
    """Return how long the task's pool lets it run; the hard limit is the only one that it cannot catch."""
    hard, _ = task.request.timelimit or (None, None)
    limit = hard or task.time_limit or task.app.conf.task_time_limit
    return float(limit) + MARGIN_SECONDS if limit else LONGEST_SECONDS


def _run(attempt: Attempt, function: Callable[[], Any]) -> Any:
    """Run a delivery's function and keep its result, or return the result that was kept.

    Raises:
        GivenBack: the call is in progress, or its record cannot be read or written; nothing has run.
        Exception: the function's own, after which the call may run again.
    """
    try:
        with reuses.waiting(current_task.request.id):
            kept = reraising_soft_limit(attempt.begin)
        if kept is not None:
            return reraising_soft_limit(lambda: _kept(attempt, kept))
    except PipelineError as exc:
        raise GivenBack(exc, requeue=exc.retryable) from exc
    except SoftTimeLimitExceeded as exc:
        attempt.abandon()
        raise GivenBack(_out_of_time(attempt), requeue=True) from exc
    try:
        result = function()
        sealed = attempt.claimcheck.seal(result)
    except BaseException:  # Celery's Retry and Ignore are no failures, and let the call run again too
        attempt.abandon()
        raise
    try:
        attempt.finish(sealed)
    except SoftTimeLimitExceeded:  # it comes once, and was the function's, which has ended
        attempt.finish(sealed)
    return result


def _out_of_time(attempt: Attempt) -> PipelineError:
    return out_of_time(f"task not begun [record={attempt.key}]", "soft")


def _kept(attempt: Attempt, sealed: Inline) -> Any:
    queue, task = running.labels()
    result = attempt.claimcheck.rehydrate(sealed, queue, task)
    attempt.claimcheck.recorder.record(metrics.DUPLICATES_IGNORED, queue=queue, task=task)
    logger.info("stored result returned, the task has run before", extra=dict(attempt.log_fields))
    return result

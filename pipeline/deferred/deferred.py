"""The deferred body: what a decoder returns, so that the payload is read where and when the task runs.

Celery decodes every message twice, in the worker's main process and again in the process that runs the
task, and treats any exception there as "acknowledge and forget". So decoding does nothing; it returns
``(args, kwargs, embed)`` whose first two items read the payload when they are first looked at. In a worker
that is the call ``fun(*args, **kwargs)`` inside Celery's trace, where a failure has a defined outcome on
every pool. Source: celery 5.7.0, ``worker/strategy.py``, ``app/trace.py``; pinned in ``test_upstream.py``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from time import perf_counter
from typing import Any

from celery import current_task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.states import READY_STATES, SUCCESS

from pipeline.claimcheck.claim import Claim, Inline
from pipeline.claimcheck.headers import SHARED
from pipeline.deferred.child_pipe import reuses
from pipeline.deferred.lazy import LazyDict, LazyList, as_json
from pipeline.deferred.soft_time_limit import reraising_soft_limit
from pipeline.errors import (
    FramesDropped,
    PayloadReleasedError,
    PipelineError,
    RevokedWhileWaitingError,
    StoreUnavailableError,
)
from pipeline.telemetry import log_fields, log_lines
from pipeline.telemetry.sizes import size

logger = log_lines.logger(__name__)

MAIN_LIMIT_BYTES = 32_768
"""Most that a main process expands and decodes of a payload in a message, to report on its task."""


class Deferred:
    """The payload of one delivery, read at most once, and only when somebody looks at it.

    Args:
        read: reads the payload and returns ``(args, kwargs)``; raises :class:`PipelineError`.
        rebuild: makes the deferred body again in another process, from what is pickled: a function and
            its arguments.
        payload: what the message carries, or ``None`` if it could not be read.
    """

    def __init__(
        self,
        read: Callable[[], tuple[Sequence[Any], Mapping[str, Any]]],
        rebuild: tuple[Callable[..., Any], tuple[Any, ...]],
        payload: Inline | Claim | None = None,
    ) -> None:
        self._read = read
        self._value: tuple[list[Any], dict[str, Any]] | None = None
        self._error: PipelineError | None = None
        self.seconds = 0.0
        """How long the read took."""
        self.rebuild = rebuild
        self.payload = payload
        self.reused = False
        """Whether a retry has taken the payload over; a second one stores it anew."""

    @property
    def loaded(self) -> bool:
        """Whether the payload is here."""
        return self._value is not None

    @property
    def rehydrated_in(self) -> float | None:
        """How many seconds the store took to bring the payload back; ``None`` if it was not read there."""
        return self.seconds if self.claim and self.loaded else None

    @property
    def claim(self) -> Claim | None:
        """The claim that the message carries, if its payload was offloaded."""
        return self.payload if isinstance(self.payload, Claim) else None

    @property
    def is_small(self) -> bool:
        """Whether the payload is in the message, and small enough for a main process to read it."""
        return isinstance(self.payload, Inline) and self.payload.expanded_bytes <= MAIN_LIMIT_BYTES

    def load(self) -> tuple[list[Any], dict[str, Any]]:
        """Return ``(args, kwargs)``, reading the payload the first time; a failure is remembered too.

        Raises:
            celery.exceptions.Reject: a task is running: the message goes back to the queue if trying again
                may help, and towards the dead-letter queue otherwise.
            celery.exceptions.Ignore: a task is running that has ended before.
            PipelineError: no task is running.
        """
        if self._value is None and self._error is None:
            start = perf_counter()
            with reuses.waiting(current_task.request.id) if self.claim and current_task else nullcontext():
                self._try()
            self.seconds = perf_counter() - start
        if self._value is None:
            raise self._outcome()
        return self._value

    def _try(self) -> None:
        try:
            with FramesDropped():
                args, kwargs = reraising_soft_limit(self._read)
            self._value = list(args), dict(kwargs)
        except PipelineError as exc:
            self._error = exc
        except SoftTimeLimitExceeded:  # nothing of the task has run, so it is the store's failure
            self._error = out_of_time(f"payload not read [{self!r}]", "soft")
        if self._error is not None:
            _log(self._error, self.payload)

    def _outcome(self) -> Exception:
        error = self._error or PipelineError("payload unread")
        if not current_task:
            return error
        if isinstance(error, PayloadReleasedError):
            outcome: Exception = Ignore(error)
        else:
            outcome = Reject(error, requeue=error.retryable)
        return outcome

    def stored(self) -> tuple[list[Any], dict[str, Any]]:
        """Return what others may keep of the arguments, as JSON has them, if they are here or small.

        Never raises: it runs where Celery reports on a task, in the main process as well.
        """
        if self.loaded or self.is_small:
            with suppress(PipelineError, Reject, Ignore):
                args, kwargs = self.load()
                return as_json(list(args)), as_json(dict(kwargs))
        return [f"<args and kwargs: {self!r}>"], {}

    def __repr__(self) -> str:
        """Describe where the payload is; does not read it, and never shows it."""
        if self.claim is None:
            return f"{size(self.payload.expanded_bytes)} in the message" if self.payload else "unreadable"
        return f"{size(self.claim.expanded_bytes)} in {self.claim.key}"


def out_of_time(what: str, limit: str) -> StoreUnavailableError:
    """Return the error of a task whose time limit, soft or hard, came before any of it could run."""
    return StoreUnavailableError(
        f"{what}: the task's {limit} time limit came first; if the store works, set the limit above "
        "store_retry_seconds"
    )


class DeferredArgs(LazyList):
    """The positional arguments of a task, read when first looked at."""

    def __init__(self, deferred: Deferred) -> None:
        self.deferred = deferred

    @property
    def loaded(self) -> list[Any]:
        """The arguments themselves: what is changed here, by ``before_start`` for example, is changed."""
        return self.deferred.load()[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross the pool's pipe as a claim, but carry the arguments themselves once they are here."""
        return (list, (list(self),)) if self.deferred.loaded else (_args, (self.deferred.rebuild,))

    def __json__(self) -> list[Any]:
        """Be written to a result backend, with ``result_extended``. Kombu's JSON calls it."""
        return self.deferred.stored()[0]

    def __repr__(self) -> str:
        return f"<args: {self.deferred!r}>"


class DeferredKwargs(LazyDict):
    """The keyword arguments of a task, read when first looked at."""

    def __init__(self, deferred: Deferred) -> None:
        self.deferred = deferred

    @property
    def loaded(self) -> dict[str, Any]:
        """The arguments themselves: what is changed here, by ``before_start`` for example, is changed."""
        return self.deferred.load()[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross the pool's pipe as a claim, but carry the arguments themselves once they are here."""
        return (dict, (dict(self),)) if self.deferred.loaded else (_kwargs, (self.deferred.rebuild,))

    def __json__(self) -> dict[str, Any]:
        """Be written to a result backend, with ``result_extended``. Kombu's JSON calls it."""
        return self.deferred.stored()[1]

    def __repr__(self) -> str:
        return f"<kwargs: {self.deferred!r}>"


def labels() -> tuple[str, str]:
    """Return queue and name of the task that runs here, or empty strings."""
    if not current_task:
        return "", ""
    return log_fields.queue_of(current_task.request.delivery_info), current_task.name


def _log(error: PipelineError, payload: Inline | Claim | None) -> None:
    """Log why a task does not run here."""
    if not current_task:
        return
    fields = log_fields.of_message(current_task.request, labels()[0]) | log_fields.of_payload(payload)
    is_over = isinstance(error, (PayloadReleasedError, RevokedWhileWaitingError))
    level = logging.INFO if is_over else logging.WARNING
    logger.log(level, "payload not rehydrated: %s", error, extra=fields)


def attempt_before(task_id: str, attempt: int) -> Any:
    """Return the request of the task that runs here if ``attempt`` is the one after it, else ``None``.

    Attempts count from 0, as Celery's ``retries`` does. ``Task.retry`` publishes the same id with one more;
    nothing else does: ``replace`` keeps the id and starts at 0. Source: celery 5.7.0, ``app/task.py``.
    """
    request = current_task.request if current_task else None
    is_next = request is not None and request.id == task_id and (request.retries or 0) + 1 == attempt
    return request if is_next else None


def retried(task_id: str, attempt: int) -> Deferred | None:
    """Return the payload of the task that runs here if ``attempt`` is the one after it, else ``None``.

    So it does if the payload is not the task's alone.
    """
    request = attempt_before(task_id, attempt)
    if request is None or request.get(SHARED) or not isinstance(request.args, DeferredArgs):
        return None
    return request.args.deferred if request.args.deferred.loaded else None


def has_ended() -> bool:
    """Say whether the task that runs here has ended before, as far as its result backend knows.

    A FAILURE of our own does not count: it says that the payload was missing then, too.
    """
    if not current_task:
        return False
    try:
        meta = current_task.backend.get_task_meta(current_task.request.id)
    except Exception:  # noqa: BLE001 - no backend, or one that does not answer: then nobody knows
        return False
    if meta["status"] == SUCCESS:  # its result may be large: it is not looked at
        return True
    return meta["status"] in READY_STATES and not isinstance(meta["result"], PipelineError)


Body = tuple[DeferredArgs, DeferredKwargs, dict[str, Any]]
"""``(args, kwargs, embed)``: unpacked by Celery, and empty to nothing that asks."""


def body(deferred: Deferred, embed: dict[str, Any]) -> Body:
    """Return the body that Celery unpacks. ``embed`` must be plain: Celery reads it outside the trace."""
    return DeferredArgs(deferred), DeferredKwargs(deferred), embed


class Unreadable(tuple[Any, ...]):
    """The body of a message that cannot be read: three items to Celery, an error to everyone else."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, slice)):
            return super().__getitem__(index)
        return super().__getitem__(0).deferred.load()


def deferred_in(value: Any) -> Deferred | None:
    """Return the deferred payload behind a decoded body, or ``None`` if there is none."""
    args = value[0] if isinstance(value, tuple) and value else None
    return args.deferred if isinstance(args, DeferredArgs) else None


def _args(rebuild: tuple[Callable[..., Body], tuple[Any, ...]]) -> DeferredArgs:
    function, arguments = rebuild
    return function(*arguments)[0]


def _kwargs(rebuild: tuple[Callable[..., Body], tuple[Any, ...]]) -> DeferredKwargs:
    function, arguments = rebuild
    return function(*arguments)[1]

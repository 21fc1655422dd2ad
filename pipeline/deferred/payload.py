"""The payload of one delivery: read where and when the task runs, and at most once.

Celery decodes every message twice, in the worker's main process and again in the process that runs the
task, and treats any exception there as "acknowledge and forget". So decoding reads nothing. In a worker the
payload is read by the call ``fun(*args, **kwargs)`` inside Celery's trace, where a failure has a defined
outcome on every pool. Source: celery 5.7.0, ``worker/strategy.py``, ``app/trace.py``; pinned in
``test_upstream.py``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from pipeline.claimcheck.claim import Claim, Inline, Message, Share
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.handles.late_arguments import loaded
from pipeline.deferred import child_pipe, running, signatures
from pipeline.deferred.child_pipe import reuses
from pipeline.deferred.lazy import as_json
from pipeline.deferred.shared_arguments import SharedArguments
from pipeline.deferred.soft_time_limit import out_of_time, reraising_soft_limit
from pipeline.errors import (
    FramesDropped,
    PayloadCorruptError,
    PayloadMissingError,
    PayloadReleasedError,
    PipelineError,
    RevokedWhileWaitingError,
    StoreUnavailableError,
)
from pipeline.metrics import table as metrics
from pipeline.telemetry import log_fields, log_lines
from pipeline.telemetry.sizes import size

logger = log_lines.logger(__name__)

T = TypeVar("T")

MAIN_LIMIT_BYTES = 32_768
"""Most that a main process expands and decodes of a payload in a message, to report on its task."""

Rebuild = tuple[Callable[..., Any], tuple[Any, ...]]
"""Makes the deferred payload again in another process, from what is pickled: a function and its arguments."""


class Received(NamedTuple):
    """The message of a task, and what reads its payload."""

    claimcheck: ClaimCheck
    message: Message
    embed: dict[str, Any]
    """The task's callbacks, errbacks, chain and chord; those whose arguments are in the payload get them."""

    def __repr__(self) -> str:
        """Show nothing of the task's signatures: error trackers show what is in a frame."""
        return f"Received({self.message!r})"


class Deferred:
    """The payload of one delivery, read at most once, on first use.

    Args:
        received: the message, or why it cannot be read.
        rebuild: makes it again in another process.
    """

    def __init__(self, received: Received | PipelineError, rebuild: Rebuild) -> None:
        self._received = received
        self._value: tuple[list[Any], dict[str, Any]] | None = None
        self._error: PipelineError | None = None
        self.seconds = 0.0
        """How long the read took."""
        self._rebuild = rebuild
        self.payload = None if isinstance(received, PipelineError) else received.message.payload
        """What the message carries, or ``None`` if it cannot be read."""
        self.shares = () if isinstance(received, PipelineError) else received.message.shares
        """The shared payloads that the arguments name."""
        self._shared: SharedArguments | None = None
        self._is_given_away = False

    def __reduce__(self) -> Rebuild:
        """Cross the pool's pipe as a claim: once, for positional and keyword arguments alike."""
        return self._rebuild

    @property
    def loaded(self) -> bool:
        """Whether the payload is here."""
        return self._value is not None

    @property
    def rehydrated_in(self) -> float | None:
        """How many seconds the store took to bring the payload back; ``None`` if it was not read there."""
        return self.seconds if self._needs_store and self.loaded else None

    @property
    def claim(self) -> Claim | None:
        """The claim that the message carries, if its payload was offloaded."""
        return self.payload if isinstance(self.payload, Claim) else None

    @property
    def _needs_store(self) -> bool:
        return self.claim is not None or bool(self.shares)

    @property
    def is_small(self) -> bool:
        """Whether all is in the message, and small enough for a main process to read it."""
        return (
            not self.shares
            and isinstance(self.payload, Inline)
            and self.payload.expanded_bytes <= MAIN_LIMIT_BYTES
        )

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
            request = running.request()
            with reuses.waiting(request.id) if self._needs_store and request is not None else nullcontext():
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

    def _read(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if isinstance(self._received, PipelineError):
            raise self._received
        claimcheck, message, embed = self._received
        running.check_not_revoked(claimcheck)
        value = _from_store(claimcheck, partial(claimcheck.rehydrate, message.payload, *running.labels()))
        args, kwargs = _call(value, embed)
        if running.request() is None:  # a main process, which reads nothing of a store
            return args, kwargs
        return _from_store(claimcheck, partial(self._loaded, args, kwargs))

    def _loaded(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments with shared values, and stored text, in place of what stands for them."""
        if self.shares and not isinstance(self._received, PipelineError):
            self._shared = SharedArguments(self._received.claimcheck, *running.labels())
            args, kwargs = self._shared.read((args, kwargs))
        return [loaded(each) for each in args], kwargs

    def named(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return arguments of the same task with what stands for shared values, where they are unchanged."""
        return (args, kwargs) if self._shared is None else self._shared.named((args, kwargs))

    def _outcome(self) -> Exception:
        error = self._error or PipelineError("payload unread")
        if running.request() is None:
            return error
        if isinstance(error, PayloadReleasedError):
            outcome: Exception = Ignore(error)
        else:
            outcome = Reject(error, requeue=error.retryable)
        return outcome

    def give_to_retry(self, task_id: str, attempt: int) -> bytes | None:
        """Give the payload to an attempt's retry, in the process that runs it; once, as two would share it.

        Returns:
            The attempt's mark, which the main process knows now; ``None`` if the retry needs its own payload.
        """
        if self._is_given_away or self.claim is None:
            return None
        mark = child_pipe.mark(task_id, attempt, self.claim.key)
        self._is_given_away = reuses.note(mark)
        return mark if self._is_given_away else None

    def keep_shares(self, shares: Sequence[Share]) -> tuple[bytes, ...]:
        """Keep this execution from ending its use of shared payloads that the task's next message names.

        Returns:
            Marks that the main process knows now, of those shares that this message names, too.

        Raises:
            StoreUnavailableError: the main process cannot be reached, and would count the end.
        """
        about = running.request()
        marks = tuple(child_pipe.member_mark(about, each.key) for each in shares if each in self.shares)
        if not all(map(reuses.note, marks)):
            raise StoreUnavailableError(
                f"task not sent again [task_id={about.id}]: the worker's main process takes no notes now, "
                "and would end its use of a shared payload"
            )
        return marks

    def stored(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments for a result backend or monitor, in JSON's types, if they are loaded or small.

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


def _from_store(claimcheck: ClaimCheck, read: Callable[[], T]) -> T:
    """Read. The one place that decides whether a missing payload is lost or its task has ended."""
    try:
        return read()
    except PayloadMissingError as exc:
        queue, task = running.labels()
        if not running.has_ended():
            claimcheck.recorder.record(metrics.PAYLOADS_MISSING, queue=queue, task=task)
            raise
        claimcheck.recorder.record(metrics.DUPLICATES_IGNORED, queue=queue, task=task)
        raise PayloadReleasedError(f"task has ended already, and is not run again: {exc}") from exc


def _call(value: Any, embed: dict[str, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments in a payload, and give signatures in ``embed`` theirs back.

    Raises:
        PayloadCorruptError: it holds something else.
    """
    try:
        args, kwargs, detached = value
        is_call = isinstance(args, (list, tuple)) and isinstance(kwargs, dict) and isinstance(detached, list)
        if not is_call:
            raise TypeError("no call")  # noqa: TRY301
        signatures.attach(embed, detached)
    except (TypeError, ValueError, IndexError):
        raise PayloadCorruptError("payload corrupt: it does not hold a task's arguments") from None
    return args, kwargs


def _log(error: PipelineError, payload: Inline | Claim | None) -> None:
    """Log why a task does not run here."""
    if running.request() is None:
        return
    is_over = isinstance(error, (PayloadReleasedError, RevokedWhileWaitingError))
    level = logging.INFO if is_over else logging.WARNING
    fields = running.fields() | log_fields.of_payload(payload)
    logger.log(level, "payload not rehydrated: %s", error, extra=fields)

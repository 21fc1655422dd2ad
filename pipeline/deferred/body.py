"""The body that a decoder returns: ``(args, kwargs, embed)``, whose first two items are read when used.

Celery unpacks it in the main process and pickles it to the process that runs the task, and neither reads the
payload (``payload.py``). ``embed`` is plain: Celery reads it where an error would end the worker.
Source: celery 5.7.0, ``worker/strategy.py``, ``worker/request.py``, ``app/trace.py``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.claimcheck.claim import Message, Share
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.headers import SHARED
from pipeline.deferred import running, signatures
from pipeline.deferred.lazy import LazyDict, LazyList
from pipeline.deferred.payload import Deferred, Rebuild, Received
from pipeline.deferred.shared_arguments import shares_of
from pipeline.errors import ClaimError, PipelineError


class DeferredArgs(LazyList):
    """The positional arguments of a task, read on first use."""

    def __init__(self, deferred: Deferred) -> None:
        self.deferred = deferred

    @property
    def loaded(self) -> list[Any]:
        """The arguments themselves: what is changed here, by ``before_start`` for example, is changed."""
        return self.deferred.load()[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross the pool's pipe as a claim, but carry the arguments themselves once they are here."""
        return (list, (list(self),)) if self.deferred.loaded else (DeferredArgs, (self.deferred,))

    def __json__(self) -> list[Any]:
        """Be written to a result backend, with ``result_extended``. Kombu's JSON calls it."""
        return self.deferred.stored()[0]

    def __repr__(self) -> str:
        return f"<args: {self.deferred!r}>"


class DeferredKwargs(LazyDict):
    """The keyword arguments of a task, read on first use."""

    def __init__(self, deferred: Deferred) -> None:
        self.deferred = deferred

    @property
    def loaded(self) -> dict[str, Any]:
        """The arguments themselves: what is changed here, by ``before_start`` for example, is changed."""
        return self.deferred.load()[1]

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross the pool's pipe as a claim, but carry the arguments themselves once they are here."""
        return (dict, (dict(self),)) if self.deferred.loaded else (DeferredKwargs, (self.deferred,))

    def __json__(self) -> dict[str, Any]:
        """Be written to a result backend, with ``result_extended``. Kombu's JSON calls it."""
        return self.deferred.stored()[1]

    def __repr__(self) -> str:
        return f"<kwargs: {self.deferred!r}>"


Body = tuple[DeferredArgs, DeferredKwargs, dict[str, Any]] | dict[str, Any]
"""``(args, kwargs, embed)``, or one map in protocol 1, as Celery's setting ``task_protocol`` chooses."""


class Unreadable(tuple[Any, ...]):
    """The body of a message that cannot be read: Celery can unpack its three items; any other use raises."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, slice)):
            return super().__getitem__(index)
        return super().__getitem__(0).deferred.load()


def of_task(claimcheck: ClaimCheck, message: Message, rebuild: Rebuild) -> Body:
    """Return the body of a task's message. Decodes its ``embed``, and does no I/O.

    Raises:
        PayloadCorruptError: the ``embed`` cannot be decoded.
        ClaimError: it is not that of a task.
    """
    embed = claimcheck.codec.decode_embed(message.embed)
    if not signatures.is_embed(embed):
        raise ClaimError("claim rejected: its embed is not that of a task")
    deferred = Deferred(Received(claimcheck, message, embed), rebuild)
    if signatures.is_protocol_1(embed):
        return {**embed, "args": DeferredArgs(deferred), "kwargs": DeferredKwargs(deferred)}
    return DeferredArgs(deferred), DeferredKwargs(deferred), embed


def unreadable(error: PipelineError, rebuild: Rebuild) -> Unreadable:
    """Return the body of a message that cannot be read: using it raises ``error``."""
    deferred = Deferred(error, rebuild)
    return Unreadable((DeferredArgs(deferred), DeferredKwargs(deferred), {}))


def deferred_in(value: Any) -> Deferred | None:
    """Return the deferred payload behind a decoded body, or ``None`` if there is none."""
    if type(value) is dict:
        args = value.get("args")
    else:
        args = value[0] if isinstance(value, tuple) and value else None
    return args.deferred if isinstance(args, DeferredArgs) else None


def retried(task_id: str, attempt: int) -> Deferred | None:
    """Return the payload of the task that runs here if ``attempt`` is the one after it, else ``None``.

    ``None`` too if it was not read, or is shared with another message.
    """
    request = running.attempt_before(task_id, attempt)
    deferred = _running()
    if request is None or request.get(SHARED) is not None or deferred is None:
        return None
    return deferred if deferred.loaded else None


def again(task_id: str) -> Deferred | None:
    """Return the payload of the task that runs here if that is ``task_id``: it is retried, or replaced."""
    request = running.request()
    return _running() if request is not None and request.id == task_id else None


def kept_shares(task_id: str, shares: Sequence[Share], embed: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Keep the task that runs here from ending its use of shared payloads that it names again.

    Its retry names them, or what replaces it: a task, or a chain of tasks, the last of which has its id.

    Args:
        task_id: of the task that is published.
        shares: what that one names.
        embed: its signatures.

    Returns:
        Marks that the worker's main process knows now.

    Raises:
        StoreUnavailableError: the main process cannot be reached.
    """
    deferred = _running()
    if deferred is None or not deferred.shares:
        return ()
    own = running.request().id
    return deferred.keep_shares(shares if task_id == own else shares_of(own, embed))


def _running() -> Deferred | None:
    args = getattr(running.request(), "args", None)
    return args.deferred if isinstance(args, DeferredArgs) else None

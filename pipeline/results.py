"""Results: how one travels to a result backend, and how it is read there.

With ``result_serializer="claimcheck"``, a result above ``result_threshold_bytes`` goes to the store, once,
and its claim to the backend. What Celery writes around a result (state, traceback, children) stays in the
backend, so that the state of a task is known without the store. ``backend.py`` decides when a result is
offloaded and when it is released; the serializer encodes and decodes it with what is here.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from celery.local import PromiseProxy

from pipeline.claimcheck.claim import Claim, Inline, Message
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.keys import new_result_key
from pipeline.deferred import running
from pipeline.deferred.lazy import LazyDict
from pipeline.deferred.soft_time_limit import reraising_soft_limit
from pipeline.errors import FramesDropped, PayloadCorruptError
from pipeline.metrics import table as metrics
from pipeline.telemetry import log_fields, log_lines

if TYPE_CHECKING:
    from celery.result import AsyncResult, ResultSet

__all__ = ["forget"]

logger = log_lines.logger(__name__)

RESULT = "result"
"""Key of a task's result among what a backend keeps of it. Source: celery 5.7.0, ``_get_result_meta``."""


def forget(result: "AsyncResult[Any] | ResultSet[Any]") -> None:
    """Forget the result of a task, group or chord, and release the payloads, as ``result.forget()`` does.

    A chord's result forgets the results of its header, too, as Celery does. Runs in any process. Safe to call
    twice.
    """
    result.forget()


class Outgoing:
    """A result on its way to a result backend: encoded and offloaded once, however often Celery writes it.

    Args:
        value: what the task returned or raised.
        task: name of the task.
        task_id: its id.
    """

    def __init__(self, value: Any, task: str = "", task_id: str = "") -> None:
        self.source = value
        """What the task returned or raised."""
        self.value = value
        self.is_prepared = False
        """Whether Celery has turned an exception into plain values."""
        self._task = task
        self._task_id = task_id
        self._payload: Inline | Claim | None = None
        self._is_kept = False

    def message(self, claimcheck: ClaimCheck, around: Any) -> Message:
        """Return what is written for the result, with what Celery writes ``around`` it.

        Raises:
            PipelineError: it cannot be encoded, is too large, or could not be stored.
        """
        codec, embed = claimcheck.codec.encode(around)
        self._payload = self._payload or self._put(claimcheck)
        shape, is_kept = _shape(around), self._is_kept
        self._is_kept = is_kept or shape != "part"
        return Message(
            shape=shape,
            payload=self._payload,
            embed=embed,
            embed_codec=codec,
            shared=shape == "part" and is_kept,
        )

    def _put(self, claimcheck: ClaimCheck) -> Inline | Claim:
        sealed = claimcheck.seal(self.value)
        if len(sealed.data) <= claimcheck.options.result_threshold_bytes:
            return sealed
        key = new_result_key(claimcheck.store.prefix)
        claim = claimcheck.offload(sealed, task=self._task, task_id=self._task_id, key=key).claim
        known = log_fields.of_message({"id": self._task_id, "task": self._task})
        logger.info("payload offloaded", extra=known | log_fields.of_payload(claim))
        claimcheck.recorder.record(metrics.PAYLOADS_OFFLOADED, task=self._task)
        claimcheck.recorder.record(metrics.PAYLOAD_BYTES, claim.expanded_bytes, task=self._task)
        return claim


def _shape(around: Any) -> Literal["meta", "part", "result"]:
    if around is None:
        return "result"
    return "part" if isinstance(around, list) else "meta"


class _Split(NamedTuple):
    outgoing: Outgoing
    around: Any


def split(value: Any) -> _Split | None:
    """Return the result in what a backend encodes, and what is around it; ``None`` if there is no result.

    A backend encodes the result alone (databases), a map that has it (key-value stores, ``rpc://``), or a
    list that ends with it (a part of a chord, on Redis).
    """
    if isinstance(value, Outgoing):
        return _Split(value, None)
    if isinstance(value, Mapping) and isinstance(value.get(RESULT), Outgoing):
        return _Split(value[RESULT], {**value, RESULT: None})
    if isinstance(value, list) and value and isinstance(value[-1], Outgoing):
        return _Split(value[-1], value[:-1])
    return None


class Stored:
    """A result as a backend stores it, inline or as a claim. It is read when it is first used."""

    def __init__(self, claimcheck: ClaimCheck, message: Message) -> None:
        self._claimcheck = claimcheck
        self._message = message

    @property
    def claim(self) -> Claim | None:
        """The claim, if the result was offloaded."""
        payload = self._message.payload
        return payload if isinstance(payload, Claim) else None

    @property
    def size_bytes(self) -> int:
        """Size of the encoded result."""
        return self._message.payload.expanded_bytes

    @property
    def is_own(self) -> bool:
        """Whether nothing else names its payload."""
        return not self._message.shared

    def around(self) -> Any:
        """Return what Celery wrote around the result.

        Raises:
            PayloadCorruptError: it is nothing that Celery writes.
        """
        with FramesDropped():
            around = self._claimcheck.codec.decode(self._message.embed_codec, self._message.embed)
        if not isinstance(around, (dict, list, NoneType)) or _shape(around) != self._message.shape:
            raise PayloadCorruptError("result corrupt: what is around it is nothing that Celery writes")
        return around

    def value(self) -> Any:
        """Return the result: one read of the store at most.

        Raises:
            PipelineError: it was released, or cannot be read.
        """
        queue, task = running.labels()
        payload = self._message.payload
        with FramesDropped():
            return reraising_soft_limit(lambda: self._claimcheck.rehydrate(payload, queue, task))

    def whole(self) -> Any:
        """Return what the backend encoded."""
        around = self.around()
        return self.value() if around is None else [*around, self.value()]


class LazyResult(PromiseProxy):
    """A result that a backend decodes by itself; the value is read on first use."""

    __slots__ = ("stored",)

    stored: Stored

    def __init__(self, stored: Stored) -> None:
        object.__setattr__(self, "stored", stored)
        super().__init__(stored.whole)


class ResultMeta(LazyDict):
    """What a backend keeps of a task: a dict whose result is read on first use.

    Args:
        stored: the result.
        around: everything else, if it is known.
    """

    def __init__(self, stored: Stored, around: dict[str, Any] | None = None) -> None:
        self.stored = stored
        self.convert: Callable[[Any], Any] | None = None
        """Makes an exception of the result when it is read; ``None`` for a result that is none."""
        self._is_whole = False
        if around is not None:
            self.__dict__["_around"] = {**around, RESULT: None}

    @cached_property
    def _around(self) -> dict[str, Any]:
        around: dict[str, Any] = self.stored.around()
        return around

    @property
    def loaded(self) -> dict[str, Any]:
        """Everything, the result too."""
        if not self._is_whole:
            value = self.stored.value()
            self[RESULT] = self.convert(value) if self.convert else value
        return self._around

    def __getitem__(self, name: str) -> Any:
        return (self.loaded if name == RESULT else self._around)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._is_whole = self._is_whole or name == RESULT
        self._around[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._around

    def __iter__(self) -> Iterator[str]:
        return iter(self._around)

    def __len__(self) -> int:
        return len(self._around)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.loaded,)

    def __repr__(self) -> str:
        """Say where the result is; never what it is."""
        claim = self.stored.claim
        return f"<meta of a task, its result {f'in {claim.key}' if claim else 'inline'}>"


def size_bytes(result: "AsyncResult[Any]") -> int | None:
    """Return the size of an encoded result without reading it from the store; None if it is another's."""
    meta = result._get_task_meta()  # noqa: SLF001 - Celery has no public way
    return meta.stored.size_bytes if isinstance(meta, ResultMeta) else None


def read(claimcheck: ClaimCheck, message: Message) -> Any:
    """Return what a backend encoded, to be read on first use. Does no I/O."""
    stored = Stored(claimcheck, message)
    return ResultMeta(stored) if message.shape == "meta" else LazyResult(stored)

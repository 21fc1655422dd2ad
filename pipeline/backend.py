"""The result backend: offloads a task's result once, and releases it when the result is forgotten.

Celery makes its result backend from a URL. :func:`open_backend` makes it of the same class with
:class:`BackendMixin` in front, so every backend that Celery has, and any other, stores results the same way.
Source: celery 5.7.0, ``app/base.py`` (``_get_backend``), ``backends/base.py``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from celery.app.backends import by_url
from celery.backends.rpc import RPCBackend
from celery.states import READY_STATES
from celery.utils.functional import LRUCache

from pipeline import undo
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.errors import PipelineError
from pipeline.results import RESULT, LazyResult, Outgoing, ResultMeta, Stored
from pipeline.serializer import serializer

if TYPE_CHECKING:
    from celery.backends.base import Backend
else:
    Backend = object  # what stands in front of a class is not one of its kind

OUTGOING = "claimcheck_result"
"""Attribute of a task's request, which Celery hands over each time it stores the result of a chord's part."""

RECEIVED_COUNT = 10_000
"""Of so many results of ``rpc://`` a process knows the claims, until it forgets them."""

_parts: ContextVar[list[Stored] | None] = ContextVar("parts", default=None)


def extend(app: Any) -> None:
    """Let an app open its result backend with :func:`open_backend`, whatever it had opened before."""
    before = app.backend_cls
    if getattr(before, "func", None) is not open_backend:  # it is, if the app was installed before
        undo.put(app, "backend_cls", partial(open_backend, before or app.conf.result_backend))
    undo.put(app, "_backend_cache", None)  # Celery keeps it here if it is safe between threads,
    undo.drop(app._local, "backend")  # noqa: SLF001 - and otherwise here, for each thread


def open_backend(chosen: Any, app: Any, url: str | None = None) -> Any:
    """Make an app's result backend; an app's ``backend_cls`` is this with its first argument bound.

    Args:
        chosen: the backend that the app had before ``install``: a class, a name or a URL.
        app: the app. Its present ``result_backend`` counts, if it is a URL.
        url: not used: ``chosen`` has it.
    """
    del url
    configured = app.conf.result_backend
    base, found = by_url(configured if isinstance(configured, str) else chosen, app.loader)
    return extended(base)(app=app, url=found)


@cache
def extended(base: type) -> type:
    """Return a backend's class with ours in front."""
    return type(base.__name__, (BackendMixin, base), {})


def _reopened(base: type, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    from celery import current_app  # noqa: PLC0415 - as Celery does, where it unpickles a backend

    return extended(base)(*args, app=current_app._get_current_object(), **kwargs)  # noqa: SLF001


class BackendMixin(Backend):
    """Extends a Celery result backend. Runs in any process that stores, reads or forgets results."""

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **options: Any,
    ) -> Any:
        """Store a result; what ends a task is offloaded if it is large."""
        outgoing = self._outgoing(result, state, task_id, request)
        stored = super().store_result(
            task_id, outgoing, state, traceback=traceback, request=request, **options
        )
        return stored.value if isinstance(stored, Outgoing) else stored

    def encode_result(self, result: Any, state: str) -> Any:
        """Prepare a result for encoding, once."""
        if not isinstance(result, Outgoing):
            return super().encode_result(result, state)
        if not result.is_prepared:
            result.value = super().encode_result(result.value, state)
            result.is_prepared = True
        return result

    def decode(self, payload: Any) -> Any:
        """Decode what a backend encoded; parts of a chord that is being joined are noted."""
        value = super().decode(payload)
        parts = _parts.get()
        if parts is not None and type(value) is LazyResult:  # isinstance would read it
            parts.append(value.stored)
        return value

    def meta_from_decoded(self, meta: Any) -> Any:
        """Return what is kept of a task, also from a backend that encodes the result alone.

        Celery makes an exception of a failure's result here. Ours is made on first use: the
        state of a task is known without the store, and a client that waits for another one reads nothing.
        """
        if not isinstance(meta, ResultMeta) and type(meta[RESULT]) is LazyResult:
            meta = ResultMeta(meta[RESULT].stored, meta)
        if not isinstance(meta, ResultMeta):
            return super().meta_from_decoded(meta)
        if isinstance(self, RPCBackend):
            self._received[meta["task_id"]] = meta.stored
        if meta["status"] in self.EXCEPTION_STATES:
            meta.convert = self.exception_to_python
        return meta

    def on_chord_part_return(self, request: Any, state: str, result: Any, **options: Any) -> None:
        """Count a part of a chord. Payloads that parts alone have are released when the chord is over.

        They have their own where header tasks ignore their results; only Redis keeps parts.
        """
        outgoing = self._outgoing(result, state, request.id, request)
        with _noting() as parts:
            super().on_chord_part_return(request, state, outgoing, **options)
            if parts and self._is_chord_over(request.group):
                self._release([part.claim for part in parts if part.claim and part.is_own])

    def _is_chord_over(self, group_id: str) -> bool:
        """Say whether no other worker will join these parts, and note those that are left.

        Source: celery 5.7.0, ``backends/redis.py``: the size goes when the body was published or the chord
        has failed, and a join stops at the first part that failed.
        """
        if self.client.exists(self.get_key_for_group(group_id, ".s")):
            return False
        read = self.client.zrange if self._chord_zset else self.client.lrange
        for part in read(self.get_key_for_group(group_id, ".j"), 0, -1):
            self.decode(part)
        return True

    def forget(self, task_id: str) -> None:
        """Forget a task's result, and release its payload. Safe to call twice."""
        claim = self._claim_of(task_id) if self._claimcheck else None
        with suppress(FileNotFoundError):  # the file system's backend raises where others do nothing
            super().forget(task_id)
        if claim:
            self._release([claim])

    def _claim_of(self, task_id: str) -> Claim | None:
        if isinstance(self, RPCBackend):
            received = self._received.pop(task_id, None)
            return received.claim if received else None
        with suppress(PipelineError):  # unreadable: its key is unknown
            meta = self.get_task_meta(task_id)
            return meta.stored.claim if isinstance(meta, ResultMeta) else None
        return None

    @cached_property
    def _received(self) -> LRUCache:
        """Results that came as messages, which do not come again."""
        return LRUCache(limit=RECEIVED_COUNT)

    @property
    def _claimcheck(self) -> ClaimCheck | None:
        """The claim check of this process: a spawned child may open its backend before it has one."""
        return serializer.found() if self.serializer == serializer.NAME else None

    def _release(self, claims: Sequence[Claim]) -> None:
        if self._claimcheck is not None:
            self._claimcheck.release_at_once(claims)

    def _outgoing(self, result: Any, state: str, task_id: str, request: Any) -> Any:
        """Return a result that ends its task as what is encoded once; a part's second time, the same."""
        if self._claimcheck is None or state not in READY_STATES:
            return result
        outgoing: Outgoing | None = getattr(request, OUTGOING, None)
        if outgoing is None or outgoing.source is not result:
            outgoing = Outgoing(result, getattr(request, "task", None) or "", task_id)
            if request is not None:
                setattr(request, OUTGOING, outgoing)
        return outgoing

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        """Pickle as the class behind, which has a name that can be found."""
        _, (_, found, options) = super().__reduce__(args, kwargs)
        return _reopened, (type(self).__bases__[1], found, options)


@contextmanager
def _noting() -> Iterator[list[Stored]]:
    """Note the results that this thread decodes by themselves."""
    noted: list[Stored] = []
    token = _parts.set(noted)
    try:
        yield noted
    finally:
        _parts.reset(token)

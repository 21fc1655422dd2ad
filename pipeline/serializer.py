"""The Kombu end: the serializer ``claimcheck``.

Kombu finds it through ``celery_claimcheck_entry_point.py``; it does nothing until an application
calls :func:`pipeline.install`. Encoding may store a payload and raise; decoding does no I/O and never
raises, whatever it is given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from types import NoneType
from typing import Any, cast

import msgspec
from celery.local import PromiseProxy
from kombu.utils import json

from pipeline import claim as wire_form
from pipeline import deferred, links, metrics
from pipeline.claim import Claim, Inline, Message
from pipeline.claimcheck import ClaimCheck
from pipeline.codec import TypedValues
from pipeline.deferred import Deferred
from pipeline.errors import (
    ClaimError,
    PayloadCorruptError,
    PayloadMissingError,
    PayloadReleasedError,
    PayloadTooLargeError,
    PipelineError,
)
from pipeline.metrics import Metric
from pipeline.publication import SEE_ARGS, SHARED, Publication, current, reuse
from pipeline.publication.reuse import reuses
from pipeline.sizes import size
from pipeline.timelimit import heeded

NAME = "claimcheck"
CONTENT_TYPE = wire_form.CONTENT_TYPE

CLAIM_BYTES = 768
"""A claim in its wire form and what monitors are shown of it, rounded up."""

KOMBU_TYPES = TypedValues(
    default=json.JSONEncoder().default,
    restore=json.object_hook,
)
"""The types that Kombu's ``json`` serializer knows, those of ``register_type`` included."""

_installed: ClaimCheck | None = None


def install(claimcheck: ClaimCheck | None) -> None:
    """Make the serializer use ``claimcheck``, one per process as Kombu's registry is; ``None`` undoes it."""
    global _installed  # noqa: PLW0603 - Kombu registers functions for the whole process
    _installed = claimcheck


def is_installed() -> bool:
    """Say whether :func:`install` was called in this process."""
    return _installed is not None


def installed() -> ClaimCheck:
    """Return the claim check of this process.

    Raises:
        ClaimError: nobody called :func:`pipeline.install` here.
    """
    if _installed is None:
        raise ClaimError(
            "claimcheck is not configured in this process: call pipeline.install(app, store=…) where the "
            "Celery app is made"
        )
    return _installed


def encode(body: Any) -> bytes:
    """Encode a message body, in the publishing process; Kombu wraps what is raised into ``EncodeError``.

    Raises:
        PipelineError: the body cannot be serialised, is too large, or could not be stored.
    """
    encoding = _Encoding(installed(), current())
    start = perf_counter()
    encoded = encoding.task(body) if _is_task(body) else encoding.value(body)
    encoding.record(metrics.ENCODE_SECONDS, perf_counter() - start)
    return encoded


def _is_task(body: Any) -> bool:
    return isinstance(body, (tuple, list)) and len(body) == 3 and _is_embed(body[2])  # noqa: PLR2004


def _is_embed(value: Any) -> bool:
    """Source: celery 5.7.0, ``app/amqp.py``, ``as_task_v2``."""
    return isinstance(value, Mapping) and value.keys() == {
        "callbacks",
        "errbacks",
        "chain",
        "chord",
    }


def _is_eager_call(value: Any) -> bool:
    """Say whether a value is a task's arguments that go no further than this process.

    With ``task_always_eager``, Celery encodes a pair of them and decodes it at once. No task's message is
    such a pair. Source: celery 5.7.0, ``app/task.py``, ``apply_async``.
    """
    if not isinstance(value, tuple) or len(value) != 2:  # noqa: PLR2004
        return False
    args, kwargs = value
    return isinstance(args, (list, tuple, NoneType)) and isinstance(kwargs, (Mapping, NoneType))


@dataclass(frozen=True, slots=True)
class _Encoding:
    """One body on its way out."""

    claimcheck: ClaimCheck
    publication: Publication

    def task(self, body: Any) -> bytes:
        args, kwargs, embed = body
        message = self._message([args, kwargs, []], embed)
        if self._fits(message.payload, self._size_bytes(message)):
            self.record(metrics.BODIES_INLINE)
            return self._send(message)
        if not self._fits(message.payload, len(message.embed) + CLAIM_BYTES):
            bare, detached = links.detach(embed)
            if detached:  # else the payload is what it was: encoding it again would be for nothing
                message = self._message([args, kwargs, detached], bare)
        return self._offload(message)

    def value(self, value: Any) -> bytes:
        message = Message(shape="value", payload=self.claimcheck.seal(value))
        options = self.claimcheck.options
        if self._size_bytes(message) <= options.result_threshold_bytes or _is_eager_call(value):
            return self._write(message)
        return self._offload(message)

    def record(self, metric: Metric, value: float = 1) -> None:
        labels = {"queue": self.publication.queue, "task": self.publication.task}
        self.claimcheck.recorder.record(metric, value, **labels)

    def _message(self, value: list[Any], embed: Mapping[str, Any]) -> Message:
        codec, encoded = self.claimcheck.codec.encode(dict(embed))
        sealed = self.claimcheck.seal(value)
        return Message(shape="task", payload=sealed, embed=encoded, embed_codec=codec)

    def _write(self, message: Message) -> bytes:
        return wire_form.write(message, self.claimcheck.options.signing_key)

    def _size_bytes(self, message: Message) -> int:
        return wire_form.size_bytes(message, self.claimcheck.options.signing_key)

    def _fits(self, payload: Inline | Claim, body_bytes: int) -> bool:
        """Say whether a body may travel inline; the one place where that is decided."""
        threshold = self.claimcheck.options.threshold_bytes
        return threshold > 0 and self._weight(payload, body_bytes) <= threshold

    def _offload(self, message: Message) -> bytes:
        sealed = cast("Inline", message.payload)
        claim = self._reuse(sealed) or self._put(sealed)
        return self._send(msgspec.structs.replace(message, payload=claim))

    def _put(self, sealed: Inline) -> Claim:
        claim = self.claimcheck.offload(sealed, self.publication)
        self.publication.claims.append(claim)
        self.publication.headers.pop(SHARED, None)  # that of the attempt before it, as Celery copies them all
        self.record(metrics.PAYLOADS_OFFLOADED)
        return claim

    def _reuse(self, sealed: Inline) -> Claim | None:
        """Return the claim of the attempt that runs here, if this is its retry with the same payload.

        What decides is the encoded payload, so a change in place counts; and that main knows of it first.
        """
        task_id, attempt = self.publication.task_id, self.publication.headers.get("retries") or 0
        running = deferred.retried(task_id, attempt)
        if running is None or running.claim is None or running.reused:
            return None
        mark = reuse.mark(task_id, attempt - 1, running.claim.key)
        wait_seconds = self.publication.wait_seconds
        if not self.claimcheck.is_reusable(running.claim, sealed, wait_seconds) or not reuses.note(mark):
            return None
        running.reused, self.publication.reuse = True, mark
        self.record(metrics.PAYLOADS_REUSED)
        return running.claim

    def _send(self, message: Message) -> bytes:
        encoded = self._write(message)
        wire_bytes = self._weight(message.payload, len(encoded))
        self._check_broker_limit(wire_bytes)
        self.record(metrics.PAYLOAD_BYTES, message.payload.expanded_bytes)
        self.record(metrics.WIRE_BYTES, wire_bytes)
        return encoded

    def _weight(self, payload: Inline | Claim, body_bytes: int) -> int:
        """Return what the message weighs on the wire, what monitors are shown of it included."""
        self._describe(payload)
        wire_bytes = self.claimcheck.wire.size_bytes(body_bytes, self.publication.envelope)
        self.publication.headers[NAME]["wire_bytes"] = wire_bytes
        return wire_bytes

    def _check_broker_limit(self, wire_bytes: int) -> None:
        """A message can be too big although its payload is away: all that travels beside it counts."""
        limit = self.claimcheck.options.broker_limit_bytes
        if wire_bytes > limit:
            raise PayloadTooLargeError(
                f"message too large: {wire_bytes} bytes on the wire, payload aside, broker_limit_bytes is "
                f"{limit}; its headers, properties, message attributes or signatures are too big"
            )

    def _describe(self, payload: Inline | Claim) -> None:
        """Tell monitors what travels, in place of the arguments: Celery shows and logs what stands here."""
        headers = self.publication.headers
        headers[NAME] = {
            "payload_bytes": payload.expanded_bytes,
            "wire_bytes": self.claimcheck.options.broker_limit_bytes,  # no number is longer that is sent
            "key": payload.key if isinstance(payload, Claim) else None,
        }
        where = f"in {payload.key}" if isinstance(payload, Claim) else "inline"
        shown = f"<args and kwargs: {size(payload.expanded_bytes)} {where}>"
        headers.update(argsrepr=shown, kwargsrepr=SEE_ARGS)


def decode(body: bytes | memoryview | str) -> Any:
    """Decode a message body, in any process: no I/O, and no exception whatever the bytes.

    Returns:
        ``(args, kwargs, embed)`` for a task, deferred; any other value itself, or a proxy for it where
        it was offloaded. What cannot be read fails when it is looked at.
    """
    data = body.encode() if isinstance(body, str) else bytes(body)
    try:
        claimcheck = installed()
        chosen = claimcheck.options
        message = wire_form.read(data, chosen.signing_key, accept_unsigned=chosen.accept_unsigned)
        if message.shape == "value":
            return _value(claimcheck, message)
        return _task(claimcheck, message, data)
    except PipelineError as exc:
        return _unreadable(exc, data)


def _value(claimcheck: ClaimCheck, message: Message) -> Any:
    if isinstance(message.payload, Inline):
        return claimcheck.rehydrate(message.payload)
    return PromiseProxy(lambda: heeded(lambda: _rehydrate(claimcheck, message.payload)))


def _task(claimcheck: ClaimCheck, message: Message, data: bytes) -> deferred.Body:
    embed = claimcheck.codec.decode(message.embed_codec, message.embed)
    if not _is_embed(embed):
        raise ClaimError("claim refused: its embed is not that of a task")

    def read() -> tuple[Sequence[Any], Mapping[str, Any]]:
        return _read(claimcheck, message, embed)

    return deferred.body(Deferred(read, (decode, (data,)), message.payload), embed)


def _read(
    claimcheck: ClaimCheck, message: Message, embed: dict[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    value = _rehydrate(claimcheck, message.payload)
    try:
        args, kwargs, detached = value
        if (
            not isinstance(args, (list, tuple))
            or not isinstance(kwargs, dict)
            or not isinstance(detached, list)
        ):
            raise TypeError("no call")  # noqa: TRY301
        links.attach(embed, detached)
    except (TypeError, ValueError, IndexError):
        raise PayloadCorruptError("payload corrupt: it does not hold a task's arguments") from None
    return args, kwargs


def _rehydrate(claimcheck: ClaimCheck, payload: Inline | Claim) -> Any:
    """Rehydrate, and tell a payload that is lost from one whose task is over; the one place that does."""
    queue, task = deferred.labels()
    try:
        return claimcheck.rehydrate(payload, queue, task)
    except PayloadMissingError as exc:
        ended = deferred.has_ended()
        metric = metrics.DUPLICATES_IGNORED if ended else metrics.PAYLOADS_MISSING
        claimcheck.recorder.record(metric, queue=queue, task=task)
        if ended:
            raise PayloadReleasedError(f"task has ended already, and is not run again: {exc}") from exc
        raise


def _unreadable(error: PipelineError, data: bytes) -> deferred.Unreadable:
    def read() -> tuple[Sequence[Any], Mapping[str, Any]]:
        raise error

    return deferred.Unreadable(deferred.body(Deferred(read, (decode, (data,))), {}))

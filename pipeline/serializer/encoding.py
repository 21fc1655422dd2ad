"""A body on its way out: weighed, and sent inline or offloaded. The one place where that is decided.

Runs in the process that publishes. Kombu hands over the body alone; what else is known of the message is in
its :class:`~pipeline.claimcheck.publication.Publication`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import msgspec

from pipeline import metrics, results
from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck.claim import Claim, Inline, Message
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.publication import NAME, SEE_ARGS, SHARED, Publication
from pipeline.deferred import child_pipe, deferred, signatures
from pipeline.deferred.child_pipe import reuses
from pipeline.errors import PayloadEncodeError, PayloadTooLargeError
from pipeline.metrics import Metric
from pipeline.telemetry.sizes import size

CLAIM_BYTES = 768
"""A claim in its wire form and what monitors are shown of it, rounded up."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One body on its way out."""

    claimcheck: ClaimCheck
    publication: Publication

    def of(self, body: Any) -> bytes:
        """Return a body's wire form, in the publishing process.

        Raises:
            PipelineError: the body cannot be serialised, is too large, or could not be stored.
        """
        start = perf_counter()
        encoded = self._task(body) if _is_task(body) else self._value(body)
        self._record(metrics.ENCODE_SECONDS, perf_counter() - start)
        return encoded

    def _task(self, body: Any) -> bytes:
        args, kwargs, embed = body
        plain, detached = self._embed(embed)
        message = self._message([args, kwargs, detached], plain)
        if self._fits(message.payload, self._size_bytes(message)):
            self._record(metrics.BODIES_INLINE)
            return self._send(message)
        if not detached and not self._fits(message.payload, len(plain) + CLAIM_BYTES):
            bare, detached = self._bare(embed)
            if detached:  # else the payload is what it was: encoding it again would be for nothing
                message = self._message([args, kwargs, detached], bare)
        return self._offload(message)

    def _embed(self, embed: Mapping[str, Any]) -> tuple[bytes, list[Any]]:
        """Return the embed in bytes, and what is detached from it: what a main process is not to decode."""
        try:
            return self.claimcheck.codec.encode_embed(embed), []
        except PayloadEncodeError:
            bare, detached = self._bare(embed)
            if not detached:
                raise
            return bare, detached

    def _bare(self, embed: Mapping[str, Any]) -> tuple[bytes, list[Any]]:
        bare, detached = signatures.detach(dict(embed))
        return self.claimcheck.codec.encode_embed(bare), detached

    def _value(self, value: Any) -> bytes:
        """Offload a result if it is large; any other value stays here: nobody would release it."""
        found = results.split(value)
        if found is None:
            return self._write(Message(shape="value", payload=self.claimcheck.seal(value)))
        return self._write(found.outgoing.message(self.claimcheck, found.around))

    def _record(self, metric: Metric, value: float = 1) -> None:
        labels = {"queue": self.publication.queue, "task": self.publication.task}
        self.claimcheck.recorder.record(metric, value, **labels)

    def _message(self, value: list[Any], embed: bytes) -> Message:
        return Message(shape="task", payload=self.claimcheck.seal(value), embed=embed)

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
        self._record(metrics.PAYLOADS_OFFLOADED)
        return claim

    def _reuse(self, sealed: Inline) -> Claim | None:
        """Return the claim of the attempt that runs here, if this is its retry with the same payload.

        What decides is the encoded payload, so a change in place counts; and that main knows of it first.
        """
        task_id, attempt = self.publication.task_id, self.publication.headers.get("retries") or 0
        running = deferred.retried(task_id, attempt)
        if running is None or running.claim is None or running.reused:
            return None
        mark = child_pipe.mark(task_id, attempt - 1, running.claim.key)
        wait_seconds = self.publication.wait_seconds
        if not self.claimcheck.is_reusable(running.claim, sealed, wait_seconds) or not reuses.note(mark):
            return None
        running.reused, self.publication.reuse = True, mark
        self._record(metrics.PAYLOADS_REUSED)
        return running.claim

    def _send(self, message: Message) -> bytes:
        encoded = self._write(message)
        wire_bytes = self._weight(message.payload, len(encoded))
        self._check_broker_limit(wire_bytes)
        self._record(metrics.PAYLOAD_BYTES, message.payload.expanded_bytes)
        self._record(metrics.WIRE_BYTES, wire_bytes)
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
        """Describe the payload to monitors in place of the arguments: Celery shows and logs this text."""
        headers = self.publication.headers
        headers[NAME] = {
            "payload_bytes": payload.expanded_bytes,
            "wire_bytes": self.claimcheck.options.broker_limit_bytes,  # the longest number that is sent
            "key": payload.key if isinstance(payload, Claim) else None,
            "wait_seconds": round(self.publication.wait_seconds),
        }
        where = f"in {payload.key}" if isinstance(payload, Claim) else "inline"
        shown = f"<args and kwargs: {size(payload.expanded_bytes)} {where}>"
        headers.update(argsrepr=shown, kwargsrepr=SEE_ARGS)


def _is_task(body: Any) -> bool:
    return isinstance(body, (tuple, list)) and len(body) == 3 and signatures.is_embed(body[2])  # noqa: PLR2004

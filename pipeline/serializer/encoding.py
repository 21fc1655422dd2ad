"""Encodes a message body: inline, or offloaded if it is above the threshold. Decided here only.

Runs in the process that publishes. Reads what is known of the message, and returns what was made of its body.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, cast

import msgspec

from pipeline import results
from pipeline.claimcheck import claim as wire_form
from pipeline.claimcheck import sharing
from pipeline.claimcheck.claim import SHARES_COUNT, Claim, Inline, Message, Share
from pipeline.claimcheck.claim_check import ClaimCheck, Offloaded
from pipeline.claimcheck.codec import PICKLE
from pipeline.claimcheck.handles.stores import check_lives
from pipeline.claimcheck.headers import NAME, SEE_ARGS
from pipeline.claimcheck.object_metadata import TaskLabels
from pipeline.claimcheck.packs.uploads import Collected
from pipeline.deferred import signatures
from pipeline.deferred.body import again, kept_shares, retried
from pipeline.deferred.child_pipe import reuses
from pipeline.deferred.shared_arguments import SharedArguments, handles_in
from pipeline.errors import PayloadEncodeError, PayloadTooLargeError
from pipeline.metrics import Metric
from pipeline.metrics import table as metrics
from pipeline.serializer.publication import Encoded, Publication
from pipeline.telemetry import log_fields, log_lines, tracing
from pipeline.telemetry.sizes import size

logger = log_lines.logger(__name__)

CLAIM_BYTES = 768
"""A claim in its wire form and what monitors are shown of it, rounded up."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One body on its way out."""

    claimcheck: ClaimCheck
    publication: Publication

    def of(self, body: Any) -> Encoded:
        """Return what is made of a body, in the publishing process.

        Raises:
            PipelineError: the body cannot be serialised, is too large, or could not be stored. Nothing stays
                in the store.
        """
        start = perf_counter()
        encoded = self._task(body) if is_task(body) else self._value(body)
        self._record(metrics.ENCODE_SECONDS, perf_counter() - start)
        return encoded

    def inline(self, body: Any) -> Encoded:
        """Return a task's body as it travels inline, whatever its size: for a message that has arrived.

        Stores nothing, so a main process may call it.

        Raises:
            PipelineError: the body cannot be serialised, or is above ``payload_limit_bytes``.
        """
        args, kwargs, embed = _parts(body)
        with sharing.encoding():
            message = self._message([args, kwargs, []], self.claimcheck.codec.encode_embed(embed))
        return Encoded(self._write(message), self._described(message.payload))

    def _task(self, body: Any) -> Encoded:
        args, kwargs, embed = _parts(body)
        if (before := again(self.publication.task_id)) is not None:
            args, kwargs = before.named(args, kwargs)
        with sharing.encoding():
            message = self._weighed(args, kwargs, embed)
        with self._shares_kept(message.shares, embed) as marks:
            encoded = self._sealed(message)
        return self._measured(replace(encoded, marks=(*encoded.marks, *marks)))

    @contextmanager
    def _shares_kept(self, shares: Sequence[Share], embed: Mapping[str, Any]) -> Iterator[Sequence[bytes]]:
        marks = kept_shares(self.publication.task_id, shares, embed)
        try:
            yield marks
        except BaseException:
            for mark in marks:
                reuses.withdraw(mark)
            raise

    def _weighed(self, args: Any, kwargs: Any, embed: Mapping[str, Any]) -> Message:
        """Return the message, inline, with all that has to be in its payload if that is offloaded."""
        plain, detached = self._embed(embed)
        message = self._message([args, kwargs, detached], plain)
        if detached or self._is_inline(message) or self._fits(message.payload, len(plain) + CLAIM_BYTES):
            return message
        bare, detached = self._bare(embed)
        # If nothing was detached, the payload is what it was: encoding it again would be for nothing.
        return self._message([args, kwargs, detached], bare) if detached else message

    def _is_inline(self, message: Message) -> bool:
        return self._fits(message.payload, self._size_bytes(message))

    def _sealed(self, message: Message) -> Encoded:
        if self._is_inline(message):
            self._record(metrics.BODIES_INLINE)
            return self._encoded(message)
        return self._reused(message) or self._offloaded(message)

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

    def _value(self, value: Any) -> Encoded:
        """Offload a result if it is large; any other travels inline: nothing would release it."""
        found = results.split(value)
        if found is None:
            return Encoded(self._write(Message(shape="value", payload=self._plain(value))))
        return Encoded(self._write(found.outgoing.message(self.claimcheck, found.around)))

    def _plain(self, value: Any) -> Inline:
        """Return a payload that is no message's; with ``task_always_eager`` it is arguments, some shared."""
        with sharing.encoding():
            payload = self.claimcheck.seal(value)
            if not sharing.is_met():
                return payload
            return self.claimcheck.seal(SharedArguments(self.claimcheck).read(value))

    def _message(self, value: list[Any], embed: bytes) -> Message:
        payload = self.claimcheck.seal(value)
        return Message(shape="task", payload=payload, embed=embed, shares=self._shares(value[:2]))

    def _shares(self, call: list[Any]) -> tuple[Share, ...]:
        """Return the shared payloads that arguments name; pickle does not say whether there are any.

        Raises:
            PayloadEncodeError: there are too many.
            PayloadExpiresError: one, or that of a handle, expires before the task's ETA.
        """
        handles = handles_in(call) if sharing.is_met() or self.claimcheck.codec.name == PICKLE else ()
        for handle in handles:
            check_lives(self.claimcheck, handle, self.publication.wait_seconds)
        shares = sharing.shares_of(handles)
        if len(shares) > SHARES_COUNT:
            raise PayloadEncodeError(
                f"cannot encode {len(shares)} shared payloads of one task: {SHARES_COUNT} at most; "
                "share one value that holds them all"
            )
        return shares

    def _write(self, message: Message) -> bytes:
        return wire_form.write(message, self.claimcheck.options.signing_key)

    def _size_bytes(self, message: Message) -> int:
        return wire_form.size_bytes(message, self.claimcheck.options.signing_key)

    def _fits(self, payload: Inline | Claim, body_bytes: int) -> bool:
        """Say whether a body may travel inline; the one place where that is decided."""
        threshold = self.claimcheck.options.inline_limit_bytes
        if body_bytes > threshold or threshold == 0:  # which saves the weighing of the headers
            return False
        return self._wire_bytes(self._described(payload), body_bytes) <= threshold

    def _offloaded(self, message: Message) -> Encoded:
        about = self.publication
        made = self._put_away(cast("Inline", message.payload))
        trace = {} if tracing.TRACEPARENT in about.headers else made.trace
        try:
            return replace(self._encoded(message, made.claim, trace), claim=made.claim)
        except BaseException:  # a soft time limit, too: the publisher does not know of the payload yet
            about.withdraw()
            self.claimcheck.release_at_once([made.claim], about.queue, about.task)
            raise

    def _put_away(self, sealed: Inline) -> Offloaded | Collected:
        """Put a payload into the store, or let a thread of the batch do so."""
        about = self.publication
        labels = TaskLabels(about.task, about.task_id, about.queue)
        if about.uploads is not None:
            collected = about.uploads.add(sealed, labels, about.wait_seconds, self._note_offloaded)
            about.collected.append(collected)
            return collected
        made = self.claimcheck.offload(sealed, **labels._asdict(), wait_seconds=about.wait_seconds)
        self._note_offloaded(made.claim, made.trace)
        return made

    def _note_offloaded(self, claim: Claim, trace: Mapping[str, str]) -> None:
        self._record(metrics.PAYLOADS_OFFLOADED)
        fields = log_fields.of_message({**trace, **self.publication.headers}, self.publication.queue)
        logger.info("payload offloaded", extra=fields | log_fields.of_payload(claim))

    def _reused(self, message: Message) -> Encoded | None:
        """Encode the claim of the attempt that runs here, if this is its retry with the same payload.

        What decides is the encoded payload, so a change in place counts; and that main knows of it first.
        """
        task_id, attempt = self.publication.task_id, self.publication.headers.get("retries") or 0
        running = retried(task_id, attempt)
        if running is None or running.claim is None:
            return None
        sealed = cast("Inline", message.payload)
        if not self.claimcheck.is_reusable(running.claim, sealed, self.publication.wait_seconds):
            return None
        encoded = self._encoded(message, running.claim)
        mark = running.give_to_retry(task_id, attempt - 1)
        if mark is None:
            return None
        self._record(metrics.PAYLOADS_REUSED)
        return replace(encoded, reused=running.claim, marks=(mark,))

    def _encoded(
        self, message: Message, claim: Claim | None = None, trace: Mapping[str, str] | None = None
    ) -> Encoded:
        """Write a message, with a claim in place of its payload if there is one, and weigh it.

        Raises:
            PayloadTooLargeError: all that travels beside the payload is too big for the broker.
        """
        payload = claim or message.payload
        data = self._write(msgspec.structs.replace(message, payload=payload))
        headers = {**self._described(payload), **(trace or {})}
        wire_bytes = self._wire_bytes(headers, len(data))
        self._check_broker_limit(wire_bytes)
        headers[NAME]["wire_bytes"] = wire_bytes
        return Encoded(data, headers)

    def _wire_bytes(self, headers: Mapping[str, Any], body_bytes: int) -> int:
        """Return what the message weighs on the wire, with these headers beside its own."""
        envelope = replace(self.publication.envelope, headers={**self.publication.headers, **headers})
        return self.claimcheck.wire.size_bytes(body_bytes, envelope)

    def _check_broker_limit(self, wire_bytes: int) -> None:
        limit = self.claimcheck.options.broker_limit_bytes
        if wire_bytes > limit:
            raise PayloadTooLargeError(
                f"message too large: {wire_bytes} bytes on the wire, payload aside, broker_limit_bytes is "
                f"{limit}; its headers, properties, message attributes or signatures are too big"
            )

    def _described(self, payload: Inline | Claim) -> dict[str, Any]:
        """Describe the payload to monitors in place of the arguments: Celery shows and logs this text."""
        where = f"in {payload.key}" if isinstance(payload, Claim) else "inline"
        described = {
            "payload_bytes": payload.expanded_bytes,
            "wire_bytes": self.claimcheck.options.broker_limit_bytes,  # the longest number that is sent
            "key": payload.key if isinstance(payload, Claim) else None,
            "wait_seconds": round(self.publication.wait_seconds),
        }
        shown = f"<args and kwargs: {size(payload.expanded_bytes)} {where}>"
        return {NAME: described, "argsrepr": shown, "kwargsrepr": SEE_ARGS}

    def _measured(self, encoded: Encoded) -> Encoded:
        """Record the sizes of a task's message."""
        self._record(metrics.PAYLOAD_BYTES, encoded.headers[NAME]["payload_bytes"])
        self._record(metrics.WIRE_BYTES, encoded.headers[NAME]["wire_bytes"])
        return encoded

    def _record(self, metric: Metric, value: float = 1) -> None:
        labels = {"queue": self.publication.queue, "task": self.publication.task}
        self.claimcheck.recorder.record(metric, value, **labels)


def is_task(body: Any) -> bool:
    """Say whether a body is what Celery sends for a task: its arguments and an ``embed``, or a map."""
    if isinstance(body, dict):
        return {"args", "kwargs"} <= body.keys() and signatures.is_protocol_1(body)
    return isinstance(body, (tuple, list)) and len(body) == 3 and signatures.is_embed(body[2])  # noqa: PLR2004


def _parts(body: Any) -> tuple[Any, Any, Mapping[str, Any]]:
    """Return a task's ``(args, kwargs, embed)``; in protocol 1 all that is not an argument is the embed."""
    if not isinstance(body, dict):
        args, kwargs, embed = body
        return args, kwargs, embed
    embed = {name: value for name, value in body.items() if name not in {"args", "kwargs"}}
    return body["args"], body["kwargs"], embed

"""Deletes acknowledged messages in batches, off the event loop, and reads the answer for each of them.

One thread for each connection collects acknowledgements per queue: ten, or those of 50 ms, are one
DeleteMessageBatch. Their prefetch slots are free at once. A slot limits how much work a process takes on,
and an acknowledged task has ended; a slot that waits for SQS would tie throughput to its latency.
A delete that is not confirmed is retried, and the heartbeat extends its message until then.
"""

import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from pipeline.aws.limits import SQS_BATCH_COUNT, SQS_FIFO_SUFFIX
from pipeline.telemetry import log_lines
from pipeline.transport import hops
from pipeline.transport.errors import DeleteDeniedError, NotSettledError
from pipeline.transport.fanout.warn_once import warn_once
from pipeline.transport.hops import Hop
from pipeline.transport.in_flight import Delivery, InFlight, entries, failures
from pipeline.transport.sqs_errors import DENIED, FAILURES, STALE, code, meaning_of, meaning_of_code

logger = log_lines.logger(__name__)

COLLECT_SECONDS = 0.05
"""How long an acknowledgement waits for others, so that one call deletes several messages."""
DELETE_TIMEOUT_SECONDS = 900.0
"""How long a delete is retried while its receipt handle is valid."""
BACKOFF_SECONDS = 0.1
BACKOFF_LIMIT_SECONDS = 5.0
IDLE_SECONDS = 1.0

LATE = "visibility timeout over"
"""Why a delete that SQS has confirmed may have had no effect; see ``InFlight.is_late``."""


@dataclass(eq=False)
class _Waiting:
    delivery: Delivery
    since: float
    hop: Hop | None = None
    """What SQS must take before this message is deleted."""
    attempts: int = 0
    due: float = field(init=False)

    def __post_init__(self) -> None:
        # The next message of a FIFO queue's group waits for this delete.
        self.due = self.since + (0 if self.delivery.queue_url.endswith(SQS_FIFO_SUFFIX) else COLLECT_SECONDS)

    def postpone(self, now: float) -> None:
        """Schedule a retry with exponential backoff and jitter."""
        longest = min(BACKOFF_SECONDS * 2**self.attempts, BACKOFF_LIMIT_SECONDS)
        self.attempts += 1
        self.due = now + random.uniform(longest / 2, longest)  # noqa: S311 - no secret

    def cannot_succeed(self, now: float) -> bool:
        """Return whether a retry cannot succeed."""
        return now >= self.delivery.expires or now - self.since > DELETE_TIMEOUT_SECONDS


class Settler:
    """Collects acknowledgements and settles them, on its own thread, which starts with the first.

    Args:
        in_flight: where a message stays until SQS has confirmed its delete.
        on_unsettled: called with queue and code for each message that will never settle.
    """

    def __init__(self, in_flight: InFlight, on_unsettled: Callable[[str, str], None]) -> None:
        self._in_flight = in_flight
        self._on_unsettled = on_unsettled
        self._waiting: dict[str, list[_Waiting]] = {}
        self._unfinished = 0
        self._flushers = 0
        self._changed = threading.Condition()
        self._looks_again = 0.0
        """When the thread stops waiting if nobody wakes it; 0 while it does not wait."""
        self._thread: threading.Thread | None = None

    def add(self, delivery: Delivery, hop: Hop | None = None) -> None:
        """Queue an acknowledgement, or a hop, which ends with one. Returns at once, from any thread."""
        with self._changed:
            waiting = _Waiting(delivery, self._in_flight.clock(), hop)
            collected = self._waiting.setdefault(delivery.queue_url, [])
            collected.append(waiting)
            self._unfinished += 1
            self.start()
            # Not for each: to switch to the thread costs the event loop more than the acknowledgement.
            if waiting.due < self._looks_again or len(collected) >= SQS_BATCH_COUNT:
                self._changed.notify_all()

    def start(self) -> None:
        """Start the thread that takes the steps, unless it runs."""
        with self._changed:
            if not self._is_running:
                self._thread = threading.Thread(target=self._run, name="claimcheck-settler", daemon=True)
                self._thread.start()

    def step(self) -> bool:
        """Delete one batch that is full or due, if there is one, and return whether there was."""
        with self._changed:
            batch = self._take()
        if batch:
            self._settle(batch)
        return bool(batch)

    def flush(self, timeout_seconds: float) -> bool:
        """Send all queued acknowledgements, and return whether all settled or failed within the timeout."""
        with self._changed:
            self._flushers += 1
            self._changed.notify_all()
            try:
                # A forked child has no such thread, and nothing to wait for.
                return not self._is_running or self._changed.wait_for(
                    lambda: not self._unfinished, timeout_seconds
                )
            finally:
                self._flushers -= 1

    @property
    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._settle(batch)

    def _next_batch(self) -> list[_Waiting] | None:
        """Wait for a batch that is full or due; ``None`` ends a thread that had nothing to do."""
        with self._changed:
            while not (batch := self._take()):
                pause = self._pause()
                self._looks_again = self._in_flight.clock() + pause
                if not self._changed.wait(pause) and not self._unfinished:
                    self._thread = None
                    return None
            self._looks_again = 0.0
            return batch

    def _take(self) -> list[_Waiting]:
        now = self._in_flight.clock()
        for url, waiting in self._waiting.items():
            ready = [it for it in waiting if not it.attempts or it.due <= now][:SQS_BATCH_COUNT]
            is_due = any(it.due <= now for it in ready) or (self._flushers and ready)
            if is_due or len(ready) == SQS_BATCH_COUNT:
                self._waiting[url] = [it for it in waiting if it not in ready]
                return ready
        return []

    def _pause(self) -> float:
        dues = [it.due for waiting in self._waiting.values() for it in waiting]
        return max(min(dues) - self._in_flight.clock(), 0.001) if dues else IDLE_SECONDS

    def _settle(self, batch: list[_Waiting]) -> None:
        settled = self._hopped(batch)
        failed = self._delete([it.delivery for it in settled]) if settled else {}
        for it in settled:
            # Checked after the answer, because the request takes time too.
            late = LATE if self._in_flight.is_late(it.delivery) else None
            self._conclude(it, failed.get(it.delivery.receipt_handle, late))

    def _hopped(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Send what follows messages that hop, and return those of the batch that may be deleted now."""
        hopping = [(it, it.hop) for it in batch if it.hop and self._is_held(it)]
        unsent = hops.send(hop for _, hop in hopping)
        for (it, hop), failure in zip(hopping, unsent, strict=True):
            if failure is None:
                it.hop = None
                it.delivery.message.hopped()
            elif failure.is_transient and not it.cannot_succeed(self._in_flight.clock()):
                self._try_again(it)
            else:
                hops.note_failure(it.delivery.message, failure)
                self._finish()
                hop.keep()
        return [it for it in batch if it.hop is None]

    def _is_held(self, waiting: _Waiting) -> bool:
        """Return whether a message that is to hop is still here: a channel that closes returns it."""
        is_held = self._in_flight.get(waiting.delivery.tag) is not None
        if not is_held:
            self._finish()
        return is_held

    @staticmethod
    def _delete(batch: list[Delivery]) -> dict[str, str]:
        """Delete messages of one queue, and return the code of each that is not confirmed to be gone."""
        try:
            wanted = entries(it.receipt_handle for it in batch)
            answer = batch[0].client.delete_message_batch(QueueUrl=batch[0].queue_url, Entries=wanted)
            return failures(batch, answer)
        except Exception as exc:  # noqa: BLE001 - any error means: not confirmed
            if meaning_of_code(code(exc)) is not STALE:
                return {it.receipt_handle: code(exc) for it in batch}
        # The error is about the call. It does not name the handle that is stale, if there is one.
        answers = ((it.receipt_handle, _delete_one(it)) for it in batch)
        return {handle: failure for handle, failure in answers if failure}

    def _conclude(self, waiting: _Waiting, failure: str | None) -> None:
        delivery = waiting.delivery
        is_final = failure in {None, LATE} or meaning_of_code(str(failure)) is STALE
        if not is_final and not waiting.cannot_succeed(self._in_flight.clock()):
            self._try_again(waiting)
            return
        self._in_flight.pop(delivery.tag)
        if failure is None:
            delivery.message.settling = False
        else:
            delivery.message.unsettled = True
            self._give_up(waiting, failure)
        self._finish()

    def _give_up(self, waiting: _Waiting, failure: str) -> None:
        queue = waiting.delivery.queue
        logger.warning(
            "message not settled, it will be delivered again and its payload stays",
            extra={"queue": queue, "code": failure, "attempts": waiting.attempts + 1},
        )
        try:
            self._on_unsettled(queue or "", failure)
        except Exception:
            # The other messages of the batch must still settle.
            logger.exception("unsettled message not counted")

    def _try_again(self, waiting: _Waiting) -> None:
        waiting.postpone(self._in_flight.clock())
        with self._changed:
            self._waiting.setdefault(waiting.delivery.queue_url, []).append(waiting)

    def _finish(self) -> None:
        with self._changed:
            self._unfinished -= 1
            if not self._unfinished:  # which is what a flush waits for
                self._changed.notify_all()


def _delete_one(delivery: Delivery) -> str:
    """Delete one message, and return SQS's code, or an empty text if it is confirmed to be gone."""
    try:
        delivery.client.delete_message(QueueUrl=delivery.queue_url, ReceiptHandle=delivery.receipt_handle)
    except Exception as exc:  # noqa: BLE001 - as above
        return code(exc)
    return ""


def settle_now(delivery: Delivery, client: Any, in_flight: InFlight) -> None:
    """Delete one message, and return when SQS has confirmed that. It is no longer in flight in any case.

    Raises:
        NotSettledError: SQS returned an error, or confirmed too late.
    """
    try:
        client.delete_message(QueueUrl=delivery.queue_url, ReceiptHandle=delivery.receipt_handle)
    except ClientError as exc:
        error = DeleteDeniedError if meaning_of(exc) is DENIED else NotSettledError
        raise error(
            f"message not settled [queue={delivery.queue}]: SQS answered {code(exc)} to DeleteMessage; "
            "it will be delivered again, and its payload stays"
        ) from exc
    finally:
        in_flight.pop(delivery.tag)
    if in_flight.is_late(delivery):
        raise NotSettledError(
            f"message not settled [queue={delivery.queue}]: its visibility timeout was over before SQS "
            "answered DeleteMessage; it may be delivered again, and its payload stays"
        )


def delete_rejected(delivery: Delivery) -> None:
    """Delete a message that was rejected and has no dead-letter queue to go to. Never raises."""
    failure = _delete_one(delivery)
    if failure:
        fields = {"queue": delivery.queue, "code": failure}
        logger.warning("rejected message not deleted, it will be delivered again", extra=fields)


def delete_unacknowledged(client: Any, queue_url: str, messages: Iterable[Mapping[str, Any]]) -> None:
    """Delete messages of one call that no consumer will acknowledge. Never raises."""
    wanted = entries(each["ReceiptHandle"] for each in messages)
    try:
        client.delete_message_batch(QueueUrl=queue_url, Entries=wanted)
    except FAILURES as exc:
        warn_once("messages without acknowledgement not deleted", exc)

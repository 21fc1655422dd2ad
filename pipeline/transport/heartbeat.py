"""Extends the visibility timeout of the messages that are in flight in this process.

One thread for each connection extends every message in flight at a third of its visibility timeout: reserved,
running, waiting for its ETA, or acknowledged and not settled yet. A task may therefore run longer than the
timeout, and SQS still redelivers the messages of a killed worker within it. SQS ends that after 12 hours.
Source: SQS Developer Guide, "Amazon SQS visibility timeout": at most 12 hours from the receipt.
"""

import math
import threading
from collections.abc import Callable
from time import sleep

from pipeline.aws.limits import SQS_VISIBILITY_LIMIT_SECONDS
from pipeline.telemetry import log_lines
from pipeline.transport.clients import ShortTimeoutClients
from pipeline.transport.in_flight import Delivery, InFlight, batches, entries, failures
from pipeline.transport.redelivery import return_to_queue
from pipeline.transport.sqs_errors import FAILURES, STALE, code, meaning_of_code

logger = log_lines.logger(__name__)

TICK_SECONDS = 0.25
RETRY_SECONDS = 5.0


class Heartbeat:
    """Extends messages in flight, on its own thread, which starts with the first message.

    Args:
        in_flight: the messages in flight.
        on_failure: called with queue and reason for each extension that failed.
    """

    def __init__(self, in_flight: InFlight, on_failure: Callable[[str, str], None]) -> None:
        self._in_flight = in_flight
        self._on_failure = on_failure
        self._starting = threading.Lock()
        self._clients = ShortTimeoutClients()
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self) -> None:
        """Start the thread unless it runs. Cheap, because it is called for each message."""
        if self._is_running and not self._closing:
            return
        with self._starting:
            self._closing = False
            if not self._is_running:
                self._thread = threading.Thread(target=self._run, name="claimcheck-heartbeat", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop the thread once no message is in flight: running tasks can still settle theirs."""
        self._closing = True

    @property
    def _is_running(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _run(self) -> None:
        while self._goes_on():
            sleep(TICK_SECONDS)
            try:
                self.beat()
            except Exception:
                # If this thread died, every long task would run twice.
                logger.exception("heartbeat failed")

    def _goes_on(self) -> bool:
        with self._starting:
            if self._closing and not len(self._in_flight):
                self._thread = None
                return False
        return True

    def beat(self) -> None:
        """Extend messages that are due or nearly due, in one call for up to ten."""
        now = self._in_flight.clock()
        extended = list(self._in_flight)
        if any(it.extend_at <= now for it in extended):
            for batch in batches(it for it in extended if it.extend_at <= now + it.visibility_seconds / 12):
                self._extend(batch)

    def _extend(self, batch: list[Delivery]) -> None:
        since = self._in_flight.clock()
        batch = [it for it in batch if _remaining(it, since) or self._stop_extending(it, "12 hours are over")]
        if batch:
            failed = self._call(batch, since)
            for it in batch:
                self._note(it, since, failed.get(it.receipt_handle))

    def _call(self, batch: list[Delivery], since: float) -> dict[str, str]:
        wanted = [
            {**entry, "VisibilityTimeout": _remaining(it, since)}
            for it, entry in zip(batch, entries(it.receipt_handle for it in batch), strict=True)
        ]
        newest = max(batch, key=lambda it: it.received)  # its credentials are good for longest
        try:
            client = self._clients.of(newest.queue_url, newest.client)
            answer = client.change_message_visibility_batch(QueueUrl=newest.queue_url, Entries=wanted)
        except FAILURES as exc:
            # The error is about the call, not about one handle: even InvalidParameterValue is tried again.
            logger.warning("heartbeat not answered", extra={"queue": batch[0].queue, "code": code(exc)})
            return {it.receipt_handle: "no answer" for it in batch}
        return failures(batch, answer)

    def _note(self, delivery: Delivery, since: float, failure: str | None) -> None:
        if delivery.returned_seconds is not None:
            # It was returned while this call was under way. SQS may have processed this call last.
            return_to_queue(delivery)
        elif failure is None:
            delivery.extended(since, _remaining(delivery, since))
        elif meaning_of_code(failure) is STALE:
            # Not if it is being deleted, or was just now: the answer to that call decides.
            if self._in_flight.get(delivery.tag) is delivery and not delivery.message.settling:
                self._stop_extending(delivery, failure)
        else:
            self._report(delivery, failure)
            delivery.extend_at = self._in_flight.clock() + min(
                RETRY_SECONDS, delivery.visibility_seconds / 12
            )

    def _stop_extending(self, delivery: Delivery, reason: str) -> bool:
        self._report(delivery, reason)
        delivery.extend_at = math.inf
        logger.warning(
            "message can no longer be hidden, it may be delivered again",
            extra={"queue": delivery.queue, "code": reason},
        )
        return False

    def _report(self, delivery: Delivery, reason: str) -> None:
        try:
            self._on_failure(delivery.queue or "", reason)
        except Exception:
            # The other messages of the batch must still be extended.
            logger.exception("heartbeat failure not counted")


def _remaining(delivery: Delivery, now: float) -> int:
    left = int(SQS_VISIBILITY_LIMIT_SECONDS - (now - delivery.received))
    return max(min(delivery.visibility_seconds, left), 0)

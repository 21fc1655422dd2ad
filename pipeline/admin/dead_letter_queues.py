"""Dead-letter queues: read, redrive and purge their messages.

Redrive sends a message to its source queue before it deletes the message. Purge deletes a message before it
releases the payload. So a failure in between loses no message, and both are safe to repeat.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.admin.dead_letter import DeadLetter, payload_and_error, read_message
from pipeline.admin.outcome import Outcome
from pipeline.admin.purged_payloads import PurgedPayloads
from pipeline.admin.received_messages import TIMEOUT_PASSED, MessagesInFlight, Received, receiving, send
from pipeline.aws.limits import SQS_DEDUPLICATION_SECONDS
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.stores.protocol import StoredObject
from pipeline.transport.queues import Queue, Queues

SAMPLE_COUNT = 100
"""Messages that are read to find the oldest message of a dead-letter queue."""


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """A dead-letter queue, and the queues of the app whose messages SQS moves there."""

    queue: Queue
    sources: list[Queue]


class DeadLetterQueues:
    """The dead-letter queues of an app.

    Args:
        app: the Celery app.
        queues: its queues, inside their ``with`` block.
        claimcheck: its claim check.
    """

    def __init__(self, app: Any, queues: Queues, claimcheck: ClaimCheck) -> None:
        self._app = app
        self._queues = queues
        self._claimcheck = claimcheck

    def find(self, name: str | None = None) -> list[DeadLetterQueue]:
        """Return all dead-letter queues, or the one that has this name or belongs to the queue of this name.

        Raises:
            ValueError: the app has no such queue.
        """
        by_name: dict[str, DeadLetterQueue] = {}
        for queue in self._queues.found():
            dead = self._queues.dead_letters_of(queue)
            if dead is not None:
                by_name.setdefault(dead.name, DeadLetterQueue(dead, [])).sources.append(queue)
        if name is None:
            return list(by_name.values())
        wanted = {name, self._queues.channel.canonical_queue_name(name)}
        chosen = [each for each in by_name.values() if wanted & _names(each)]
        if not chosen:
            known = ", ".join(sorted(by_name)) or "none"
            raise ValueError(f"no dead-letter queue {name!r} among those of the app's queues: {known}")
        return chosen

    def oldest(self, dead: DeadLetterQueue) -> datetime | None:
        """Return when the oldest message of a sample was sent."""
        sent = [message.sent for message in self.read(dead, SAMPLE_COUNT) if message.sent]
        return min(sent, default=None)

    def read(
        self, dead: DeadLetterQueue, limit: int | None = None, task_id: str | None = None
    ) -> Iterator[DeadLetter]:
        """Yield messages, and make them visible again at the end."""
        with receiving(dead.queue) as in_flight:
            yield from self._chosen(dead, in_flight, limit, task_id)

    def _chosen(
        self, dead: DeadLetterQueue, in_flight: MessagesInFlight, limit: int | None, task_id: str | None
    ) -> Iterator[DeadLetter]:
        count = 0
        for received in in_flight:
            message = self._read(dead, received)
            if task_id is None or message.task_id == task_id:
                yield message
                count += 1
            if limit is not None and count >= limit:
                return

    def _read(self, dead: DeadLetterQueue, received: Received) -> DeadLetter:
        return read_message(
            self._queues.channel,
            self._app.conf.accept_content,
            self._read_as(dead, received),
            received,
            self._claimcheck,
        )

    def _read_as(self, dead: DeadLetterQueue, received: Received) -> str:
        """Return the queue whose door reads a message: its source queue; else the dead-letter queue."""
        channel, arn = self._queues.channel, _source_arn(received)
        names = {each.name for each in dead.sources if arn in {"", each.attributes.get("QueueArn")}}
        doors = (each for each in channel.doors if channel.canonical_queue_name(each) in names)
        return next(doors, dead.queue.name)

    def payload_and_error(self, message: DeadLetter) -> tuple[StoredObject | None, str]:
        """Return the payload of a message, and why its task could not run now; empty if it could.

        Raises:
            StoreError: the store denied the request or did not answer.
        """
        return payload_and_error(message, self._app, self._claimcheck)

    def redrive(
        self,
        dead: DeadLetterQueue,
        limit: int | None = None,
        task_id: str | None = None,
        *,
        only_runnable: bool = False,
    ) -> Outcome:
        """Send messages to their source queues; their payloads stay.

        A message is sent before it is deleted. If SQS does not confirm the delete, the message may exist
        twice, and counts as kept. A message whose visibility timeout has passed is not sent: another consumer
        may have it. Behind a FIFO message that is kept, those of its group are kept as well.

        Raises:
            QueueError: SQS denied the call or did not answer; messages that were not sent are still in the
            dead-letter queue.
        """
        outcome, bodies, held = Outcome(dead.queue.name), set[int](), set[tuple[str, str]]()
        with receiving(dead.queue) as in_flight:
            for message in self._chosen(dead, in_flight, limit, task_id):
                outcome.matched += 1
                source = self._source(dead, message)
                sequence = _sequence(source, message.received)
                if source is None:
                    why = "its source queue is unknown"
                elif sequence in held:
                    why = "a message of its group that is before it stays"
                else:
                    why = self._why_kept(source, message, bodies, only_runnable=only_runnable)
                if source is None or why or not in_flight.contains(message.received.message_id):
                    outcome.keep(why or TIMEOUT_PASSED)
                    held |= {sequence} if sequence else set()
                else:
                    bodies.add(hash(message.received.body))
                    _move(source, message.received, in_flight, outcome)
        if limit is None and task_id is None:
            _keep_unseen(outcome, dead, outcome.matched)
        return outcome

    def _why_kept(self, source: Queue, message: DeadLetter, sent: set[int], *, only_runnable: bool) -> str:
        """Return why a message is not sent to its source queue; empty if it is."""
        if source.is_fifo and _is_deduplicated(message):
            return "a FIFO queue drops it as a duplicate until it is 5 minutes old"
        if only_runnable and (error := self.payload_and_error(message)[1]):
            return f"its task cannot run: {error}"
        if hash(message.received.body) in sent:
            return "this command has just sent the same message: it failed again, or was there twice"
        return ""

    def _source(self, dead: DeadLetterQueue, message: DeadLetter) -> Queue | None:
        if arn := _source_arn(message.received):
            return next((queue for queue in dead.sources if queue.attributes.get("QueueArn") == arn), None)
        if len(dead.sources) == 1:
            return dead.sources[0]
        name = self._queues.channel.canonical_queue_name(message.routing_key)
        return next((queue for queue in dead.sources if queue.name == name), None)

    def purge(
        self,
        dead: DeadLetterQueue,
        limit: int | None = None,
        task_id: str | None = None,
        *,
        release: bool = True,
    ) -> Outcome:
        """Delete messages, and release the payloads that no other message of this queue names.

        The end of a message counts in the ledgers of shared payloads. Kept are: messages from queues of other
        apps, with their payloads; shared payloads whose other tasks have not ended; payloads whose claim
        this process cannot read; and messages whose visibility timeout has passed, with their payloads,
        because another consumer may have them.

        Raises:
            QueueError: SQS denied the call or did not answer; the payloads of deleted messages are released.
        """
        outcome, payloads = Outcome(dead.queue.name), PurgedPayloads(self._claimcheck)
        chosen, deleted, seen = list[str](), set[str](), 0
        with receiving(dead.queue) as in_flight:
            for seen, received in enumerate(in_flight, 1):  # noqa: B007
                message = self._read(dead, received)
                payloads.note(message)
                if task_id not in {None, message.task_id}:
                    continue
                outcome.matched += 1
                if _is_foreign(dead, message):
                    outcome.keep("its source queue does not belong to this app")
                else:
                    chosen.append(received.message_id)
            try:
                for message_id, why in in_flight.delete(chosen[:limit]):
                    if why:
                        outcome.keep(why)
                    else:
                        deleted.add(message_id)
            finally:
                outcome.deleted = len(deleted)
                if release:
                    payloads.release(deleted, outcome)
        if limit is None and task_id is None:
            _keep_unseen(outcome, dead, seen)
        return outcome

    def named_keys(self) -> "NamedKeys":
        """Return the keys that dead letters name, and the queues that were not read completely.

        If this process cannot read a claim (another signing key, a newer version), the key comes from a
        header. If a claimcheck message has no such header, it may name any key, and its queue counts as not
        read completely.
        """
        keys, unread = set[str](), list[str]()
        for dead in self.find():
            count, is_clear = 0, True
            for message in self.read(dead):
                count += 1
                keys |= {message.key} if message.key else set()
                keys |= {share.key for share in message.shares}
                is_clear = is_clear and not message.may_name_any
            if count < dead.queue.depth or not is_clear:
                unread.append(dead.queue.name)
        return NamedKeys(keys, unread)


@dataclass(frozen=True, slots=True)
class NamedKeys:
    """Keys that messages name, and the queues that were not read completely."""

    keys: set[str]
    unread: list[str]
    """Dead-letter queues of which SQS did not return all messages, or with a message whose key is unknown."""


def _move(source: Queue, message: Received, in_flight: MessagesInFlight, outcome: Outcome) -> None:
    """Send a message, and then delete it from the dead-letter queue."""
    send(source, message)
    [(_, why)] = in_flight.delete([message.message_id])
    if why:
        outcome.keep(f"sent, but not deleted from the dead-letter queue, so it may exist twice: {why}")
    else:
        outcome.moved += 1


def _sequence(source: Queue | None, received: Received) -> tuple[str, str] | None:
    """Return what a message must not be overtaken in: its group of a FIFO queue."""
    if source is None or not source.is_fifo:
        return None
    return source.name, received.attributes.get("MessageGroupId", "")


def _source_arn(received: Received) -> str:
    """Return the ARN of a message's source queue; empty if SQS does not report it."""
    return str(received.attributes.get("DeadLetterQueueSourceArn") or "")


def _is_foreign(dead: DeadLetterQueue, message: DeadLetter) -> bool:
    """Return whether a message is certainly another app's: apps may share a dead-letter queue."""
    arn = _source_arn(message.received)
    return bool(arn) and arn not in {queue.attributes.get("QueueArn") for queue in dead.sources}


def _keep_unseen(outcome: Outcome, dead: DeadLetterQueue, seen: int) -> None:
    """Count the messages that SQS counts and did not return."""
    if seen < dead.queue.depth:
        fifo = ", or it waits behind others of its group" if dead.queue.is_fifo else ""
        outcome.keep(
            f"SQS did not return it: another consumer has it in flight{fifo}", dead.queue.depth - seen
        )


def _is_deduplicated(message: DeadLetter) -> bool:
    window = timedelta(seconds=SQS_DEDUPLICATION_SECONDS)
    return message.sent is None or datetime.now(UTC) - message.sent < window


def _names(dead: DeadLetterQueue) -> set[str]:
    return {dead.queue.name, *(queue.name for queue in dead.sources)}

"""Dead-letter queues: their messages and why they are there, redrive, and purge.

A message is sent back before it is deleted here, and deleted here before its payload is released: whatever
breaks in between, it is never lost, and everything is safe to repeat.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.admin import dead_letter
from pipeline.admin.dead_letter import Letter
from pipeline.admin.messages import TOO_LONG, Holding, Received, held, send
from pipeline.admin.outcome import Outcome
from pipeline.admin.payloads import Payloads
from pipeline.aws.limits import SQS_DEDUPLICATION_SECONDS
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.stores.protocol import StoredObject
from pipeline.transport.queues import Queue, Queues

SAMPLE_COUNT = 100
"""So many messages are looked at to find the oldest of a dead-letter queue."""


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """A dead-letter queue, and those of the app's queues that it takes messages from."""

    queue: Queue
    sources: list[Queue]


class DeadLetters:
    """The dead-letter queues of an app.

    Args:
        app: the Celery app.
        queues: its queues, entered.
        claimcheck: what it has installed.
    """

    def __init__(self, app: Any, queues: Queues, claimcheck: ClaimCheck) -> None:
        self._app = app
        self._queues = queues
        self._claimcheck = claimcheck

    def found(self, name: str | None = None) -> list[DeadLetterQueue]:
        """Return all of them, or the one that is, or belongs to, a queue of that name.

        Raises:
            ValueError: there is none of that name.
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
        """Return when the oldest of a sample was sent."""
        sent = [letter.sent for letter in self.read(dead, SAMPLE_COUNT) if letter.sent]
        return min(sent, default=None)

    def read(
        self, dead: DeadLetterQueue, limit: int | None = None, task_id: str | None = None
    ) -> Iterator[Letter]:
        """Yield messages, and give them back at the end."""
        with held(dead.queue) as holding:
            yield from self._chosen(dead, holding, limit, task_id)

    def _chosen(
        self, dead: DeadLetterQueue, holding: Holding, limit: int | None, task_id: str | None
    ) -> Iterator[Letter]:
        count = 0
        for received in holding:
            letter = self._letter(dead, received)
            if task_id is None or letter.task_id == task_id:
                yield letter
                count += 1
            if limit is not None and count >= limit:
                return

    def _letter(self, dead: DeadLetterQueue, received: Received) -> Letter:
        return dead_letter.read(
            self._queues.channel, self._app.conf.accept_content, dead.queue.name, received, self._claimcheck
        )

    def verdict(self, letter: Letter) -> tuple[StoredObject | None, str]:
        """Return the payload that a letter's claim names, and why a worker could not run its task now.

        Raises:
            StoreError: the store denies access or does not answer.
        """
        return dead_letter.verdict(letter, self._app, self._claimcheck)

    def redrive(
        self,
        dead: DeadLetterQueue,
        limit: int | None = None,
        task_id: str | None = None,
        *,
        only_runnable: bool = False,
    ) -> Outcome:
        """Send messages back to where they came from; their payloads stay.

        A message whose delete is not confirmed may be there twice, as the send came first; it is counted as
        kept. What was held for too long is not sent: SQS may have shown it to somebody else.

        Raises:
            QueueError: SQS denies access or does not answer; what was not sent is still there.
        """
        outcome, bodies = Outcome(dead.queue.name), set[int]()
        with held(dead.queue) as holding:
            for letter in self._chosen(dead, holding, limit, task_id):
                outcome.matched += 1
                body = hash(letter.received.body)
                source = self._source(dead, letter)
                if source is None:
                    outcome.keep("it does not say which queue of the app it came from")
                elif source.is_fifo and _is_fresh(letter):
                    outcome.keep("a FIFO queue would drop it as a duplicate until it is 5 minutes old")
                elif only_runnable and (error := self.verdict(letter)[1]):
                    outcome.keep(f"no worker could run it: {error}")
                elif body in bodies:
                    outcome.keep("a copy of what was just sent: it has failed again, or was there twice")
                elif not holding.has(letter.received.message_id):
                    outcome.keep(TOO_LONG)
                else:
                    bodies.add(body)
                    _move(source, letter.received, holding, outcome)
        if limit is None and task_id is None:
            _keep_unseen(outcome, dead, outcome.matched)
        return outcome

    def _source(self, dead: DeadLetterQueue, letter: Letter) -> Queue | None:
        if arn := _source_arn(letter):
            return next((queue for queue in dead.sources if queue.attributes.get("QueueArn") == arn), None)
        if len(dead.sources) == 1:
            return dead.sources[0]
        name = self._queues.channel.canonical_queue_name(letter.routing_key)
        return next((queue for queue in dead.sources if queue.name == name), None)

    def purge(
        self,
        dead: DeadLetterQueue,
        limit: int | None = None,
        task_id: str | None = None,
        *,
        release: bool = True,
    ) -> Outcome:
        """Delete messages, and release the payloads that no other message read here names.

        What came from a queue that is not the app's stays, and so do the payloads that it names. So does the
        payload of a message that went to several queues: what waits in others is not read here. So does that
        of a claim which cannot be read here. What was held for too long may be somebody else's by now: it is
        not deleted, and its payload is not released.

        Raises:
            QueueError: SQS denies access or does not answer; the payloads of what was deleted are released.
        """
        outcome, payloads = Outcome(dead.queue.name), Payloads(self._claimcheck)
        chosen, deleted, seen = list[str](), set[str](), 0
        with held(dead.queue) as holding:
            for seen, received in enumerate(holding, 1):  # noqa: B007
                letter = self._letter(dead, received)
                payloads.note(letter)
                if task_id not in {None, letter.task_id}:
                    continue
                outcome.matched += 1
                if _is_foreign(dead, letter):
                    outcome.keep("it came from a queue that is not among the app's")
                else:
                    chosen.append(received.message_id)
            try:
                for message_id, why in holding.delete(chosen[:limit]):
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

    def named(self) -> "Named":
        """Return the keys that messages of all dead-letter queues name, and the queues not read whole.

        A message whose claim cannot be read here, as it was signed with another key or is of a newer version,
        names its key in a header. One of ours that does not may name any: its queue is not read whole.
        """
        keys, unread = set[str](), list[str]()
        for dead in self.found():
            count, is_clear = 0, True
            for letter in self.read(dead):
                count += 1
                keys |= {letter.key} if letter.key else set()
                is_clear = is_clear and not letter.may_name_any
            if count < dead.queue.depth or not is_clear:
                unread.append(dead.queue.name)
        return Named(keys, unread)


@dataclass(frozen=True, slots=True)
class Named:
    """Keys that a message names, as far as queues could be read."""

    keys: set[str]
    unread: list[str]
    """Dead-letter queues that did not show all of their messages, or one whose key cannot be known."""


def _move(source: Queue, message: Received, holding: Holding, outcome: Outcome) -> None:
    """Send a message, and then delete it here."""
    send(source, message)
    [(_, why)] = holding.delete([message.message_id])
    if why:
        outcome.keep(f"sent back, and still here, so it may be there twice: {why}")
    else:
        outcome.moved += 1


def _source_arn(letter: Letter) -> str:
    """Return the ARN of the queue that a letter was in before, empty if SQS does not say."""
    return str(letter.received.attributes.get("DeadLetterQueueSourceArn") or "")


def _is_foreign(dead: DeadLetterQueue, letter: Letter) -> bool:
    """Say whether it is certain that a letter is another app's: a dead-letter queue may be shared."""
    arn = _source_arn(letter)
    return bool(arn) and arn not in {queue.attributes.get("QueueArn") for queue in dead.sources}


def _keep_unseen(outcome: Outcome, dead: DeadLetterQueue, seen: int) -> None:
    """Count what is there, by SQS's own count, and was not shown."""
    if seen < dead.queue.depth:
        behind = ", or it waits behind others of its group" if dead.queue.is_fifo else ""
        outcome.keep(f"SQS did not show it: somebody else holds it{behind}", dead.queue.depth - seen)


def _is_fresh(letter: Letter) -> bool:
    remembered = timedelta(seconds=SQS_DEDUPLICATION_SECONDS)
    return letter.sent is None or datetime.now(UTC) - letter.sent < remembered


def _names(dead: DeadLetterQueue) -> set[str]:
    return {dead.queue.name, *(queue.name for queue in dead.sources)}

"""A worker made of the real classes, each of its threads an actor. What Celery does between them is short.

Real are the channel with all that it holds, settler, heartbeat, releaser, and the notes on retries. What the
pool runs and what ``RequestMixin`` then does is written down here, a line for each of its calls.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from queue import Empty
from typing import Any

from botocore.exceptions import EndpointConnectionError
from kombu import Connection
from simulated_process import Client, Ended
from simulated_sqs import URL
from stepping import Actor, Clock, Fault, pause

from pipeline.claimcheck.claim import Claim, is_young
from pipeline.deferred import child_pipe
from pipeline.deferred.child_pipe import Reuses
from pipeline.errors import PayloadMissingError, StoreDeniedError, StoreError
from pipeline.transport import Transport
from pipeline.transport.channel import Channel
from pipeline.transport.hops import Hop
from pipeline.transport.message import Message
from pipeline.worker.releaser import Releaser
from pipeline.worker.republish import is_shared

logger = logging.getLogger(__name__)

QUEUE = "queue"
CLIENT = "simulated"
"""Transport option that says what SQS is called with."""
OPTIONS = {
    "predefined_queues": {QUEUE: {"url": URL}},
    "visibility_heartbeat": False,  # the heartbeat's thread is an actor
    "redelivery_floor_seconds": 0,
    "redelivery_step_seconds": 2,
    "redelivery_limit_seconds": 5,
}
PUT_OFF_SECONDS = 5


class ChildLostError(Exception):
    """The process that runs a task was killed."""


class Shared:
    """An attribute that one thread writes and another reads: others come in between, each time."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, message: Any, owner: type) -> bool:
        pause(f"{self._name} is read")
        return bool(message.__dict__.get(self._name, False))

    def __set__(self, message: Any, value: object) -> None:
        pause(f"{self._name} is set")
        message.__dict__[self._name] = value


class SteppedMessage(Message):
    """A message whose settling can be watched step by step."""

    settling = Shared()
    unsettled = Shared()


class SteppedChannel(Channel):
    """A channel whose calls go to the simulated SQS."""

    Message = SteppedMessage

    def __init__(self, connection: Any, **options: Any) -> None:
        self._simulated: Client = connection.client.transport_options[CLIENT]
        super().__init__(connection, **options)

    def sqs(self, queue: str | None = None) -> "Client":
        """Return what this process calls SQS with."""
        return self._simulated

    def _new_release_client(self, client: "Client") -> "Client":
        return client


class SteppedTransport(Transport):
    """A transport on virtual time, whose threads do not start."""

    Channel = SteppedChannel
    time = Clock()
    clock = staticmethod(lambda: SteppedTransport.time.now)

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.settler.start = lambda: None


class Worker:
    """One worker process, with its threads."""

    def __init__(self, name: str, world: Any) -> None:
        self.name, self.world = name, world
        self.client = Client(world.sqs)
        self.reuses = Reuses()
        self.reuses.open()
        self.releaser = Releaser(world.claimcheck, clock=world.clock)
        self.transports: list[Any] = []
        self.waiting: list[Any] = []
        """Messages that were received, and that no pool has taken on."""
        self.runs: list[Run] = []
        self.ended: list[Ended] = []
        self._threads = [
            (Actor(f"{name} receives", self._receive), world.sqs.has_visible),
            (Actor(f"{name} begins a task", self._begin), lambda: self.waiting),
            (Actor(f"{name} releases", self.releaser.flush), self._owes_releases),
        ]
        self.connect()

    def connect(self) -> None:
        """Open a connection, with a settler and a heartbeat of its own."""
        options = {**OPTIONS, CLIENT: self.client}
        self.connection = Connection("sqs://", transport=SteppedTransport, transport_options=options)
        transport = self.connection.transport
        self.transports.append(transport)
        self._threads += [
            (Actor(f"{self.name} settles", transport.settler.step), lambda: transport.settler._unfinished),
            (Actor(f"{self.name} beats", transport.heartbeat.beat), lambda: len(transport.in_flight)),
        ]
        self.channel = transport.create_channel(transport)
        self.channel.basic_consume(QUEUE, no_ack=False, callback=self.waiting.append, consumer_tag="tag")

    def actors(self) -> Iterator[Actor]:
        """Yield the threads and runs that have something to do."""
        yield from (actor for actor, has_work in self._threads if not actor.is_idle or has_work())
        yield from (run.actor for run in self.runs)

    def thread(self, does: str) -> Actor:
        """Return the newest thread that does this."""
        return [actor for actor, _ in self._threads if actor.name.endswith(does)][-1]

    def _begin(self) -> None:
        """Let the pool take a message on, unless it is not due: then it hops."""
        message = self.waiting.pop(0)
        copy, run = self.world.copies[message.headers["copy"]], lambda: self.runs.append(Run(self, message))
        if not copy.hops or not message.hop(Hop(partial(self.world.again, copy, self.client), run)):
            run()

    def _receive(self) -> None:
        try:
            self.channel._get_bulk(QUEUE)
        except (Empty, EndpointConnectionError, ConnectionResetError):
            return

    def lose_connection(self) -> None:
        """Connect anew: what no pool has taken on is given back, the rest is settled over the old one."""
        self._threads[0][0].throw(ConnectionResetError)
        self.channel.keep_started()
        self._close_channel()
        self.connect()

    def close(self) -> None:
        """End as a warm shutdown does, once all runs have ended."""
        for actor, _ in self._threads:
            actor.finish()
        self._close_channel()
        self.releaser.close()
        self._forget()

    def _close_channel(self) -> None:
        self.channel.give_back([message.delivery_tag for message in self.waiting])
        self.waiting.clear()
        self.channel.close()

    def kill(self) -> None:
        """End as a SIGKILL does: calls in progress end too."""
        self.client.is_alive = False
        for actor in [run.actor for run in self.runs] + [actor for actor, _ in self._threads]:
            actor.end()
        self._forget()

    def _forget(self) -> None:
        self.client.is_alive = False
        self.channel.qos._on_collect.cancel()
        self.reuses.close()

    def _owes_releases(self) -> bool:
        return bool(self.releaser._ended or self.releaser._settled)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is left to do."""
        settles = any(
            transport.settler._unfinished or len(transport.in_flight) for transport in self.transports
        )
        is_releasing = not self.thread("releases").is_idle
        return not (settles or self.waiting or self.runs or is_releasing or self._owes_releases())


class Run:
    """One execution of one delivery: what the pool does, and what ``RequestMixin`` does with its outcome."""

    def __init__(self, worker: Worker, message: Any) -> None:
        self._worker, self._world, self._message = worker, worker.world, message
        self.copy = worker.world.copies[message.headers["copy"]]
        self.needs: str | None = self.copy.claim.key
        """The payload's key, until it was read."""
        self.is_in_child = False
        """Whether a process that may be killed runs the task now."""
        self._acknowledged = False
        message.settles_later = not self.copy.task.is_early
        message.started = True
        self.actor = Actor(f"{worker.name} runs {self.copy}", self._run, once=True)

    def _run(self) -> None:
        try:
            if self.copy.task.is_early:
                self._acknowledge()
            self._conclude(self._outcome())
        finally:
            self._worker.runs.remove(self)

    def _outcome(self) -> str:
        self.is_in_child = True
        try:
            return self._execute(self.copy.claim)
        except ChildLostError:
            return "lost"
        except StoreDeniedError:
            return "dead letter"
        except StoreError:
            return "later"
        finally:
            self.is_in_child = False

    def _execute(self, claim: Claim) -> str:
        pause("the task begins")
        try:
            self._world.store.get(claim.key)
        except PayloadMissingError:
            assert self._world.is_over(self.copy), f"payload of {self.copy} gone before it was read"
            return "ignored"
        self.needs = None
        pause("the task runs")
        outcome = self._world.next_outcome(self.copy)
        return self._retry(claim) if outcome == "retry" else outcome

    def _retry(self, claim: Claim) -> str:
        """Publish the next attempt, as the serializer and the publisher do in the child."""
        copy, mark = self.copy, self._mark()
        is_young_enough = copy.task.is_member or is_young(claim, now=self._world.clock.date)
        is_ours = not is_shared(self._message) and is_young_enough
        is_reused = is_ours and self._worker.reuses.note(mark)
        pause("the retry is noted")
        if not is_reused:
            claim = self._world.offload()
        member = copy.member if is_reused else None
        again = replace(
            copy, claim=claim, attempt=copy.attempt + 1, number=len(self._world.copies), member=member,
            ended=False, is_final=False, gone=True,
        )  # fmt: skip
        fault = self._world.send(again)
        if fault is Fault.DENIED and is_reused:
            self._worker.reuses.withdraw(mark)
        return "retried" if fault is Fault.NONE else "dead letter"

    def _conclude(self, outcome: str) -> None:
        if outcome in {"lost", "later", "dead letter", "put off"} and not self.copy.task.is_early:
            self._give_back(outcome)
            return
        self._world.note_end(self.copy, is_final=outcome != "retried")
        self._acknowledge()
        key, member = self.copy.claim.key, self.copy.member
        if not is_shared(self._message) and self._worker.reuses.holds(self._mark()):
            return
        self._worker.ended.append(Ended(self._message, key, member))
        if member is None:
            self._worker.releaser.ended(self._message, self.copy.claim)
        else:
            in_pack = self.copy.claim.offset is not None
            self._worker.releaser.member_ended(self._message, key, member, in_pack=in_pack)

    def _mark(self) -> bytes:
        if self.copy.task.is_member:
            about = {"id": self.copy.task.id, "retries": self.copy.attempt}
            return child_pipe.member_mark(about, self.copy.claim.key)
        return child_pipe.mark(self.copy.task.id, self.copy.attempt, self.copy.claim.key)

    def _acknowledge(self) -> None:
        if not self._acknowledged:
            self._acknowledged = True
            self._message.ack_log_error(logger, Transport.connection_errors)

    def _give_back(self, outcome: str) -> None:
        if outcome != "put off" or not self._message.hide(PUT_OFF_SECONDS):
            requeue = outcome != "dead letter"
            self._message.reject_log_error(logger, Transport.connection_errors, requeue=requeue)

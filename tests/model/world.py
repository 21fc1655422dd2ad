"""All there is in the model: tasks, their messages and payloads, and the rules that hold at every step."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec
from simulated_sqs import DEAD_RETENTION_SECONDS, RETENTION_SECONDS, SQS, URL, Stored
from simulated_store import PREFIX, SimulatedStore
from simulated_worker import Run, SteppedTransport, Worker
from stepping import Actor, Clock, Fault, pause

from pipeline.admin import sweep
from pipeline.claimcheck import ledger
from pipeline.claimcheck.claim import Claim
from pipeline.claimcheck.claim_check import ClaimCheck
from pipeline.claimcheck.codec import Codec
from pipeline.claimcheck.headers import SHARED
from pipeline.claimcheck.keys import new_key
from pipeline.claimcheck.message_size import Wire
from pipeline.claimcheck.packs import ranges
from pipeline.errors import StoreError
from pipeline.metrics.table import PAYLOADS_ORPHANED
from pipeline.options import REUSE_SECONDS, Options
from pipeline.time_chain import named_seconds
from pipeline.transport.send.entries import Entry

ATTEMPTS = 4
TICK_SECONDS = 0.06
AGE = sweep.MARGIN + timedelta(
    seconds=REUSE_SECONDS + named_seconds(RETENTION_SECONDS, DEAD_RETENTION_SECONDS, is_fifo=False)
)


@dataclass(eq=False)
class Task:
    """One call and its outcome."""

    id: str
    plan: list[str]
    """How its executions end, one after the other."""
    is_early: bool
    """Whether its messages are acknowledged before it runs."""
    is_shared: bool = False
    """Whether two queues have a copy of its message."""
    is_member: bool = False
    """Whether other tasks name its payload, too."""
    copies: list["Copy"] = field(default_factory=list)
    executions: int = 0


@dataclass(eq=False)
class Copy:
    """One message of a task."""

    task: Task
    claim: Claim
    attempt: int
    number: int
    side: int = 0
    """Which of the queues it is in."""
    member: bytes | None = None
    """Its id in the ledger of its payload, if that has one."""
    hops: int = 0
    """How often it is sent again before it may run."""
    before: "Copy | None" = None
    """The one that it followed in a hop."""
    hopped: bool = False
    """Whether SQS has taken the one that follows it in a hop."""
    ended: bool = False
    """Whether an execution has ended: with a result, or with a retry that was sent."""
    is_final: bool = False
    """Whether one has ended for good."""
    gone: bool = True
    """Whether SQS has deleted it, or it was never sent."""

    def __repr__(self) -> str:
        return f"{self.task.id} attempt {self.attempt}"


class Numbers:
    """Counts what is counted."""

    is_emitting = False

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()

    def record(self, metric: Any, value: float = 1, **_: str) -> None:
        """Add it up."""
        self.counts[metric] += value


class World:
    """SQS, a store, two workers, and what must never be."""

    def __init__(self) -> None:
        self.clock = SteppedTransport.time = Clock()
        self.sqs = SQS(self.clock, self._check_delete, self._expired)
        self.store = SimulatedStore(self.clock, self._check_release)
        self.numbers = Numbers()
        self.claimcheck = ClaimCheck(
            self.store, Codec({}, "msgpack"), Options(), Wire.of("sqs", 0, whole=False), self.numbers
        )
        self.copies: list[Copy] = []
        self.shared: dict[str, int] = {}
        """Keys of shared payloads, and how many members they have."""
        self.tasks: list[Task] = []
        self.is_calm = False
        self.broken: list[str] = []
        """Rules that were broken. They are not raised: the code under test catches any error of a call."""
        self.sweeper = Actor("sweep", self._sweep)
        self._time = Actor("time passes", lambda: self.wait(TICK_SECONDS))
        self._started = 0
        self.workers = [self._new_worker(), self._new_worker()]

    def _new_worker(self) -> Worker:
        self._started += 1
        return Worker(f"worker {self._started}", self)

    def actors(self) -> list[Actor]:
        """Return all threads that have something to do now; time has, always."""
        found = [actor for worker in self.workers for actor in worker.actors()]
        return [*found, self._time] if self.sweeper.is_idle else [*found, self._time, self.sweeper]

    # What happens.

    def publish(self, plan: list[str], *, is_early: bool, is_shared: bool, hops: int = 0) -> None:
        """Call a task, which may be due later."""
        task = Task(f"task {len(self.tasks) + 1}", plan, is_early, is_shared)
        self.tasks.append(task)
        claim = self.offload(2 if is_shared else 0)
        for side in range(2 if is_shared else 1):
            member = ledger.member(task.id, str(side)) if is_shared else None
            self.send(Copy(task, claim, 0, len(self.copies), side, member, hops))

    def publish_group(self, plans: list[list[str]], *, is_early: bool, in_pack: bool = False) -> None:
        """Call tasks that share a payload, or whose payloads are ranges of one object."""
        whole = self.offload(len(plans))
        for offset, plan in enumerate(plans):
            claim = msgspec.structs.replace(whole, offset=offset if in_pack else None)
            task = Task(f"task {len(self.tasks) + 1}", plan, is_early, is_member=not in_pack)
            self.tasks.append(task)
            self.send(Copy(task, claim, 0, len(self.copies), 0, ranges.member(claim, task.id)))

    def offload(self, members_count: int = 0) -> Claim:
        """Put a payload away, with a ledger if it has several members."""
        claim = Claim(
            store="default", key=new_key(PREFIX, self.clock.date), size_bytes=0, digest="blake3:" + "0" * 64,
            codec="msgpack", compression="none", expanded_bytes=0, created=self.clock.date,
        )  # fmt: skip
        self.store.put(claim.key)
        if members_count:
            ledger.make(self.claimcheck, claim.key, members_count)
            self.shared[claim.key] = members_count
        return claim

    def send(self, copy: Copy) -> Fault:
        """Send one message of a task, and return the sender's outcome."""
        return self.sqs.send(self._body(copy), copy)

    def again(self, copy: Copy, client: Any) -> Entry:
        """Return what a message is sent again with that hops."""
        number, hops = len(self.copies), copy.hops - 1
        follower = replace(copy, number=number, hops=hops, before=copy, hopped=False, ended=False, gone=True)
        return Entry(None, client, {"QueueUrl": URL, "MessageBody": self._body(follower), "About": follower})

    def _body(self, copy: Copy) -> str:
        task = copy.task
        self.copies.append(copy)
        task.copies.append(copy)
        headers = {"id": task.id, "task": "t", "copy": copy.number, "retries": copy.attempt}
        if copy.member and task.is_shared:
            headers[SHARED] = 2
        body = {"body": "", "headers": headers, "properties": {"delivery_tag": "", "delivery_info": {}}}
        return json.dumps(body)

    def next_outcome(self, copy: Copy) -> str:
        """Return how the execution that runs now ends."""
        task = copy.task
        task.executions += 1
        if self.is_calm or copy.attempt >= ATTEMPTS:
            return "success"
        return task.plan[(task.executions - 1) % len(task.plan)]

    def note_end(self, copy: Copy, *, is_final: bool) -> None:
        """Note that an execution's outcome is recorded."""
        copy.ended = True
        copy.is_final = copy.is_final or is_final

    def replace(self, worker: Worker, end: Callable[[], None]) -> None:
        """End a worker, and start another in its place."""
        end()
        self.workers[self.workers.index(worker)] = self._new_worker()

    def end(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.kill()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds
        self.sqs.expire()

    def _sweep(self) -> None:
        pause("the sweep reads dead letters")
        named = {each.about.claim.key for each in self.sqs.messages if each.is_dead}
        swept = sweep.Swept()
        found = sweep.orphans(self.store, sweep.Ages(AGE, AGE), named, swept, self.clock.date)
        with suppress(StoreError):  # the operator sweeps again
            for _ in sweep.delete(self.store, found, swept):
                pass

    # What must hold.

    def is_over(self, copy: Copy) -> bool:
        """Say whether a task has ended for good and the message of that end is gone: no other end counts.

        In several queues it ends once in each, and its retry has a payload of its own.
        """
        if copy.task.is_shared and copy.member:
            return any(each.ended and each.gone for each in copy.task.copies if each.member == copy.member)
        return any(each.is_final and each.gone for each in copy.task.copies if each.side == copy.side)

    def _check_delete(self, message: Stored) -> None:
        """Rule 1: a message goes only after an end was recorded, unless it is acknowledged early."""
        copy = message.about
        copy.gone = True
        if not (copy.ended or copy.hopped or copy.task.is_early):
            self.broken.append(f"message lost: {copy} was deleted, and nothing has ended")

    def _expired(self, message: Stored) -> None:
        message.about.gone = True

    def _check_release(self, key: str) -> None:
        """Rule 2: a payload goes only when no message and no execution needs it any more."""
        for each in self.sqs.messages:
            copy = each.about
            if copy.claim.key == key and not self.is_over(copy):
                self.broken.append(f"payload released, {copy} is in SQS")
        for run in self.runs():
            if run.needs == key and not self.is_over(run.copy):
                self.broken.append(f"payload released, {run.copy} reads it")

    def runs(self) -> list[Run]:
        """Return the executions of now."""
        return [run for worker in self.workers for run in worker.runs]

    def check_rest(self) -> None:
        """All rules, once everything has come to rest."""
        self._come_to_rest()
        assert not self.broken
        for task in self.tasks:
            assert self._is_accounted_for(task), f"task lost: {task.id}"
        left = {
            ended.key
            for worker in self.workers
            for ended in worker.ended
            if ended.member is None and ended.message.acknowledged and ended.key in self.store.written
        }
        left |= {key for key in self.shared if key in self.store.written and self._have_all_ended(key)}
        assert len(left) <= self.numbers.counts[PAYLOADS_ORPHANED], (
            "payload leaked: its message has settled, it is neither released nor counted as an orphan"
        )
        self.wait(2 * AGE.total_seconds())
        self.sweeper.finish()
        self.sweeper.step()
        self.sweeper.finish()
        assert not self.store.written, "payload leaked: the sweep has left it"

    def _have_all_ended(self, key: str) -> bool:
        """Say whether workers that live have the end of each member of a payload, and its message is gone."""
        members = {
            ended.member
            for worker in self.workers
            for ended in worker.ended
            if ended.key == key and ended.message.acknowledged
        }
        return len(members) == self.shared[key]

    def _is_accounted_for(self, task: Task) -> bool:
        is_dead = any(each.about.task is task for each in self.sqs.messages)
        return is_dead or task.is_early or all(copy.gone for copy in task.copies)

    def _come_to_rest(self) -> None:
        self.is_calm = True
        for _ in range(100):
            for actor in self.actors():
                actor.finish()
                actor.step()
                actor.finish()
            if not self.sqs.has_live() and all(worker.is_at_rest for worker in self.workers):
                return
            self.wait(3)
        raise AssertionError("the workers never come to rest")

"""The rules of docs/explanation/life.md ("modelled"), in every order that threads and machines can take.

Two workers are made of the real classes; their threads take one step at a time, in the order that hypothesis
chooses. Requests and answers get lost or come late, processes are killed, connections break, operators
redrive, and the test moves time.
"""

import logging
from contextlib import ExitStack, contextmanager
from itertools import combinations

import pytest
import stamina
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from simulated_worker import ChildLostError
from stepping import Fault
from world import TICK_SECONDS, World

SCHEDULES = max(settings.default.max_examples, 300)
"""``--hypothesis-profile=chaos`` runs 10,000."""

OUTCOMES = st.sampled_from(["success", "retry", "put off", "dead letter"])
PLACES = st.integers(0, 7)
FAULTS = [Fault.NONE] * 11 + list(Fault)[1:]


STEPS = st.binary(min_size=4, max_size=48)
"""One byte a step: which thread goes on, and what becomes of its call. Bytes are quick to draw."""


def lose_child(world, place):
    """A process that runs a task is killed."""
    if runs := [run for run in world.runs() if run.is_in_child]:
        runs[place % len(runs)].actor.throw(ChildLostError)


def kill(world, place):
    """A worker is killed, and another started."""
    worker = world.workers[place % 2]
    world.replace(worker, worker.kill)


def stop(world, place):
    """A worker that runs nothing is stopped, and another started."""
    worker = world.workers[place % 2]
    if not worker.runs:
        world.replace(worker, worker.close)


def lose_connection(world, place):
    """A worker's connection breaks."""
    world.workers[place % 2].lose_connection()


def redrive(world, place):
    """An operator moves a dead letter back."""
    if dead := [each for each in world.sqs.messages if each.is_dead and not each.redriven]:
        world.sqs.redrive(dead[place % len(dead)])


def sweep(world, place):
    """An operator starts a sweep."""
    if world.sweeper.is_idle:
        world.sweeper.step()


EVENTS = {event.__name__: event for event in (lose_child, kill, stop, lose_connection, redrive, sweep)}


@contextmanager
def new_world():
    """Make a world, and end its workers; quietly, and with one try a call."""
    with ExitStack() as stack:
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        stack.enter_context(stamina.set_testing(True))
        world = World()
        stack.callback(world.end)
        yield world


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.UNANSWERED])
def test_settler_and_releaser_in_every_order(fault):
    """However the steps of a settler and a releaser mix, a payload goes once its message has settled."""
    for settles in combinations(range(12), 4):
        with new_world() as world:
            end_a_task(world)
            threads = [world.workers[0].thread(does) for does in ("releases", "settles")]
            for step in range(12):
                threads[step in settles].step(fault)

            world.check_rest()


@pytest.mark.parametrize(
    "event", [*Fault, kill, lose_connection], ids=lambda each: getattr(each, "__name__", "fault")
)
def test_a_hop_at_every_step(event):
    """Whichever step of a hop a fault or a kill meets, its task runs to its end, and its payload goes."""
    for place in range(8):
        with new_world() as world:
            worker = world.workers[0]
            world.publish(["success"], is_early=False, is_shared=False, hops=1)
            receive_and_begin(worker)
            world.wait(TICK_SECONDS)
            for _ in range(place):
                worker.thread("settles").step()
            if isinstance(event, Fault):
                worker.thread("settles").step(event)
            else:
                event(world, 0)

            world.check_rest()


def receive_and_begin(worker):
    """Let a worker receive a message, and begin with it."""
    for does in ("receives", "begins a task"):
        worker.thread(does).step()
        worker.thread(does).finish()


def end_a_task(world):
    """Call a task, and run it to its end: its message is acknowledged, and has not settled."""
    worker = world.workers[0]
    world.publish(["success"], is_early=False, is_shared=False)
    receive_and_begin(worker)
    worker.runs[0].actor.step()
    worker.runs[0].actor.finish()
    world.wait(TICK_SECONDS)


class Schedules(RuleBasedStateMachine):
    """What may happen next, at any time."""

    @initialize()
    def begin(self):
        self.end = ExitStack()
        self.world = self.end.enter_context(new_world())

    def teardown(self):
        with self.end:
            self.world.check_rest()

    @rule(
        plan=st.lists(OUTCOMES, min_size=1, max_size=3),
        is_early=st.booleans(),
        is_shared=st.booleans(),
        hops=st.sampled_from([0, 0, 1, 2]),
    )
    def publish(self, plan, is_early, is_shared, hops):
        """A task is called; it may be due later."""
        self.world.publish(plan, is_early=is_early, is_shared=is_shared, hops=hops)

    @rule(
        plans=st.lists(st.lists(OUTCOMES, min_size=1, max_size=3), min_size=2, max_size=3),
        is_early=st.booleans(),
        in_pack=st.booleans(),
    )
    def publish_group(self, plans, is_early, in_pack):
        """Tasks that share a payload, or an object, are called."""
        self.world.publish_group(plans, is_early=is_early, in_pack=in_pack)

    @rule(steps=STEPS)
    def run_threads(self, steps):
        """Threads that have something to do go on to the next point where others can come in between."""
        for step in steps:
            actors, fault = self.world.actors(), FAULTS[step // 16]
            actor = actors[step % 16 % len(actors)]
            was_at = actor.at
            actor.step(fault)
            note(f"{actor.name}, {was_at}: {fault.value} -> {actor.at}")

    @rule(seconds=st.sampled_from([0.5, 4, 11, 31, 70, 600]))
    def wait(self, seconds):
        """Time passes."""
        self.world.wait(seconds)

    @rule(event=st.sampled_from(list(EVENTS)), place=PLACES)
    def happen(self, event, place):
        """Something happens that the test has not scheduled."""
        EVENTS[event](self.world, place)

    @precondition(lambda self: all(worker.is_at_rest for worker in self.world.workers))
    @rule(days=st.sampled_from([1, 5, 15, 30]))
    def rest(self, days):
        """Nothing happens for days."""
        self.world.wait(days * 86_400)


TestModel = pytest.mark.timeout(3_600)(Schedules.TestCase)
TestModel.settings = settings(
    max_examples=SCHEDULES,
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)

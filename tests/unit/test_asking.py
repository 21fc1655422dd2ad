"""When a worker asks a queue for messages, and for how many."""

import pytest

from pipeline.aws.limits import SQS_BATCH_COUNT
from pipeline.transport.receive.asking import COLLECT_SECONDS, REQUESTS_LIMIT, Asking


class Channel:
    """What asking needs of a channel: slots, an event loop on virtual time, and requests that wait."""

    polling_interval = 1.0

    def __init__(self, slots, processes):
        self.slots, self.held, self.now, self.spare = slots, 0, 0.0, slots - processes
        self.connection = self.qos = self.hub = self
        self.soon, self.timers, self.requests = [], [], []
        self.asking = Asking(self, lambda: self.now)

    def spare_slots(self):
        return self.spare

    def can_consume(self):
        return self.held < self.slots

    def can_consume_max_estimate(self):
        return self.slots - self.held

    def call_soon(self, call, *args):
        self.soon.append((call, args))

    def call_later(self, seconds, call, *args):
        timer = Timer(self.now + seconds, call, args)
        self.timers.append(timer)
        return timer

    def _schedule_queue(self, queue):
        self.asking.go_on(queue)

    def _loop1(self, queue, found):
        self.asking.go_on_after(queue, 0, found)

    def _get_async(self, queue, count, callback):
        self.requests.append((count, callback))

    @property
    def asked(self):
        """How many messages each open request asks for."""
        return [count for count, _ in self.requests]

    def answer(self, found):
        _, callback = self.requests.pop(0)
        self.held += found
        callback(found)
        self.turn()

    def end_tasks(self, count):
        for _ in range(count):
            self.held -= 1
            self.asking.slot_freed()
        self.turn()

    def wait(self, seconds):
        self.now += seconds
        due = [timer for timer in self.timers if timer.due <= self.now and not timer.is_cancelled]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer.call(*timer.args)
        self.turn()

    def turn(self):
        calls, self.soon = self.soon, []
        for call, args in calls:
            call(*args)


class Timer:
    """One entry of the event loop's timer."""

    def __init__(self, due, call, args):
        self.due, self.call, self.args, self.is_cancelled = due, call, args, False

    def cancel(self):
        self.is_cancelled = True


def busy(slots=8, processes=2, queue="queue"):
    """Return the channel of a worker whose slots are all taken."""
    channel = Channel(slots, processes)
    channel.held = slots
    channel._schedule_queue(queue)
    assert channel.asked == []
    return channel


def test_an_idle_worker_asks_at_once_and_once():
    """A worker without tasks has one request open, for as many messages as it takes."""
    channel = Channel(slots=32, processes=8)
    channel._schedule_queue("queue")

    assert channel.asked == [SQS_BATCH_COUNT]


def test_free_slots_are_collected_while_each_process_has_a_task():
    """Six of eight slots are free, and nothing is asked for; the seventh leaves a process without work."""
    channel = busy()
    channel.end_tasks(6)
    assert channel.asked == []
    channel.end_tasks(1)

    assert channel.asked == [7]


def test_free_slots_wait_for_a_moment_alone():
    """One free slot is filled after a moment, although each process has a task."""
    channel = busy()
    channel.end_tasks(1)
    channel.wait(COLLECT_SECONDS / 2)
    assert channel.asked == []
    channel.wait(COLLECT_SECONDS)

    assert channel.asked == [1]


@pytest.mark.parametrize(("slots", "queue"), [(2, "queue"), (8, "queue.fifo")])
def test_nothing_is_collected_where_it_would_wait_for_work(slots, queue):
    """With a slot for each process, and on FIFO queues, a free slot is filled at once."""
    channel = busy(slots, queue=queue)
    channel.end_tasks(1)

    assert channel.asked == [1]


def test_full_answers_bring_several_requests():
    """A queue that fills its answers is asked several times at once, one that does not is asked once."""
    channel = Channel(slots=100, processes=8)
    channel._schedule_queue("queue")
    channel.answer(found=10)
    assert channel.asked == [SQS_BATCH_COUNT] * REQUESTS_LIMIT
    for found in (10, 10, 10, 3):
        channel.answer(found)
    for _ in range(REQUESTS_LIMIT - 1):
        channel.answer(found=0)
    channel.wait(1)

    assert channel.asked == [SQS_BATCH_COUNT]


def ending(channel, count, every_seconds):
    """End tasks, one after another."""
    for _ in range(count):
        channel.now += every_seconds
        channel.end_tasks(1)


def after_an_answer(took_seconds, every_seconds):
    """Return a busy channel, whose last full answer took so long, and whose tasks end so often."""
    channel = busy()
    ending(channel, 7, every_seconds)
    channel.now += took_seconds
    channel.answer(found=channel.asked[0])
    return channel


def test_slots_that_are_about_to_be_free_count():
    """Four of eight slots are free, and three more will be until the answer comes: seven are asked for."""
    channel = after_an_answer(took_seconds=0.03, every_seconds=0.009)
    ending(channel, 3, 0.009)
    assert channel.asked == []
    ending(channel, 1, 0.009)

    assert channel.slots - channel.held == 4
    assert channel.asked == [7]


def test_no_slot_counts_before_it_is_free_when_tasks_are_slow():
    """Tasks that end more slowly than answers come make no room ahead."""
    channel = after_an_answer(took_seconds=0.007, every_seconds=0.008)
    ending(channel, 6, 0.008)

    assert channel.asked == []


def test_no_slot_counts_before_it_is_free_once_none_was_for_long():
    """Tasks ended fast, and then a slow one: nothing is asked for while there are no free slots."""
    channel = after_an_answer(took_seconds=0.03, every_seconds=0.009)
    ending(channel, 4, 0.009)
    channel.answer(found=7)
    channel.wait(COLLECT_SECONDS * 2)

    assert channel.slots - channel.held == -3
    assert channel.asked == []


def test_answers_of_slow_tasks_never_exceed_the_slots():
    """While no task ends, no more is asked for than there are free slots."""
    channel = Channel(slots=8, processes=2)
    channel._schedule_queue("queue")
    channel.answer(found=8)
    channel.wait(10)

    assert channel.asked == []


def test_an_empty_answer_that_took_long_is_followed_by_the_next_request():
    """``polling_interval`` is the least time between two requests to an empty queue, and no pause on top."""
    channel = Channel(slots=8, processes=2)
    channel._schedule_queue("queue")
    channel.answer(found=0)
    assert channel.asked == []
    channel.wait(1)
    assert channel.asked == [8]
    channel.now += 20
    channel.answer(found=0)

    assert channel.asked == [8]


def test_a_pause_after_a_failure_is_kept():
    """What frees slots does not end a pause."""
    channel = Channel(slots=8, processes=2)
    channel._schedule_queue("queue")
    channel.held = 1
    channel.answer(found=0)
    channel.end_tasks(1)

    assert channel.asked == []

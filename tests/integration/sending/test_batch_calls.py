"""Canvases and ``pipeline.batch()`` send their messages in a few calls."""

import threading
from contextvars import copy_context
from itertools import chain as joined

import pytest
from batch_calls import in_a_block, publish
from celery import chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.signals import after_task_publish
from workers import eventually

import pipeline
from pipeline.transport.send import lingering

pytestmark = [pytest.mark.aws]


class TestCanvas:
    @pytest.mark.worker
    def test_a_group_is_a_few_calls(self, sample, calls):
        """Twenty-five tasks of a group are three calls, and all of them run."""
        result = publish(sample)

        assert calls() == (0, 3)
        sample.worker(pool="threads", concurrency=8)
        assert result.get(timeout=60) == [2 * number for number in range(25)]
        sample.eventually_empty()

    @pytest.mark.worker
    def test_chords_and_chunks_are_a_few_calls(self, sample, calls):
        """The header of a chord and the chunks of a list are sent in batches too."""
        together = chord([sample.add.s(number, 1) for number in range(12)], sample.total.s())()
        chunks = sample.add.chunks([(number, 1) for number in range(24)], 2).apply_async()
        after = chain(sample.add.s(1, 1), group(sample.add.s(number) for number in range(11)))()

        assert calls() == (2, 4)  # the two are celery.chord_unlock and the first link of the chain
        sample.worker(pool="threads", concurrency=8)
        assert together.get(timeout=60) == sum(range(1, 13))
        assert list(joined(*chunks.get(timeout=60))) == list(range(1, 25))
        assert after.get(timeout=60) == list(range(2, 13))
        sample.eventually_empty()

    @pytest.mark.worker
    def test_a_worker_sends_groups_in_a_few_calls(self, sample, calls, proxy):
        """A task that publishes a group in the middle of a chain sends it in batches too."""
        worker = sample.worker(pool="prefork", concurrency=1)
        result = chain(sample.add.s(1, 1), group(sample.add.s(number) for number in range(10)))()

        assert result.get(timeout=60) == list(range(2, 12))
        sample.eventually_empty()
        assert calls()[1] >= 1  # how many travel together is a question of time there
        assert {request.pid for request in proxy.seen("SendMessageBatch")} <= {
            child.pid for child in worker.children()
        }

    @pytest.mark.worker
    def test_a_slow_generator_is_sent_as_it_goes(self, sample, monkeypatch):
        """A group runs its first tasks while the generator of its others still waits for them."""
        monkeypatch.setattr(lingering, "SECONDS", 0.1)
        sample.worker(pool="solo")

        def tasks():
            yield sample.nap.s("first", 0)
            yield sample.nap.s("next", 0)
            eventually(sample.notes, message="the first task did not run while others were made")
            yield sample.nap.s("last", 0)

        assert group(tasks()).apply_async().get(timeout=60) == [5, 4, 4]

    @pytest.mark.parametrize("kind", ["map", "starmap"])
    def test_a_map_is_one_message(self, sample, calls, moto_aws, kind):
        """Celery sends ``map`` and ``starmap`` as one task, so there is nothing to collect."""
        getattr(sample.total, kind)([[number] for number in range(25)]).apply_async()

        assert calls() == (1, 0)
        assert moto_aws.depth(sample.queue).waiting == 1

    @pytest.mark.parametrize("limit", [0, None, 1])
    def test_any_pool_of_producers_will_do(self, sample_of, moto_aws, proxy, calls, limit):
        """Messages are sent too when Celery, without a pool limit, makes a producer for each use."""
        sample = sample_of(store=f"s3://{moto_aws.bucket()}/claims", conf={"broker_pool_limit": limit})
        for _ in range(2):
            publish(sample, 15)

        assert calls() == (0, 4)
        assert moto_aws.depth(sample.queue).waiting == 30

    def test_a_producer_of_ones_own_sends_when_it_is_given_back(self, sample, calls):
        """A group joins what is collected in the producer that it is given."""
        producer = sample.app.producer_pool.acquire(block=True)
        for _ in range(2):
            group(sample.double.s(number) for number in range(3)).apply_async(producer=producer)
        assert calls() == (0, 0)
        sample.double.apply_async((1,), producer=producer)
        assert calls() == (1, 0)
        producer.release()

        assert calls() == (1, 1)

    def test_signals_fire_when_a_message_is_collected(self, sample, calls):
        """Celery's ``after_task_publish`` says that a task was published, not yet that it was sent."""
        seen = []

        def note(**_):
            seen.append(calls())

        after_task_publish.connect(note)
        try:
            publish(sample, 12)
        finally:
            after_task_publish.disconnect(note)

        assert seen == [(0, 0)] * 10 + [(0, 1)] * 2

    def test_a_delay_travels_too(self, sample, moto_aws, calls):
        """SQS delays the tasks of a group that has a countdown."""
        group(sample.double.s(number) for number in range(3)).apply_async(countdown=100)

        assert calls() == (0, 1)
        assert moto_aws.depth(sample.queue).waiting == 0
        assert moto_aws.depth(sample.queue).delayed == 3


@pytest.mark.worker
def test_every_stand_in(sample_of, aws, proxy, calls):
    """Batches work on both stand-ins, from a standard queue and from a FIFO queue."""
    sample = sample_of(store=f"s3://{aws.bucket()}/claims", options={"threshold_bytes": 0})
    queue = f"{sample.queue}.fifo"
    sample.worker(pool="threads", concurrency=8, options=["-Q", f"{sample.queue},{queue}"])
    results = [
        publish(sample, 12),
        group(
            sample.double.s(number).set(queue=queue, MessageGroupId=f"{number}") for number in range(12)
        ).apply_async(),
    ]

    assert [result.get(timeout=60) for result in results] == [[2 * number for number in range(12)]] * 2
    assert calls() == (0, 4)
    sample.eventually_empty()


class TestBlock:
    def test_any_number_of_queues(self, sample, calls, moto_aws, proxy):
        """A block collects for each queue, and a call is for one queue alone."""
        queues = [f"{sample.queue}-{name}" for name in "ab"]
        with pipeline.batch():
            for number in range(24):
                sample.double.apply_async((number,), queue=queues[number % 2])
            assert calls() == (0, 2)

        assert calls() == (0, 4)
        assert [moto_aws.depth(queue).waiting for queue in queues] == [12, 12]

    def test_an_exception_in_the_block_takes_nothing_back(self, sample, moto_aws):
        """Messages published before an exception in the block are sent, as without a block."""
        with pytest.raises(ZeroDivisionError):
            in_a_block(lambda: [sample.double.delay(1 // number) for number in (2, 1, 0)])

        assert moto_aws.depth(sample.queue).waiting == 2

    def test_blocks_join_and_groups_do_too(self, sample, calls):
        """Inner blocks and groups leave their messages to the outermost block."""
        with pipeline.batch():
            with pipeline.batch():
                sample.double.delay(1)
            publish(sample, 3)
            chain(sample.double.s(1), sample.double.s())()
            assert calls() == (0, 0)

        assert calls() == (0, 1)

    def test_it_ends_with_its_end(self, sample, calls):
        """A task published after the block is sent at once."""
        with pipeline.batch():
            pass
        sample.double.delay(1)

        assert calls() == (1, 0)

    def test_threads_are_apart(self, sample, calls):
        """Another thread sends at once, even in a context that it got from the block's."""
        with pipeline.batch():
            thread = threading.Thread(target=copy_context().run, args=(sample.double.delay, 1))
            thread.start()
            thread.join()
            assert calls() == (1, 0)

    def test_what_outlives_the_block_is_sent_at_once(self, sample, calls):
        """A context that was copied in a block, as asyncio does for tasks, collects nothing after its end."""
        with pipeline.batch():
            inherited = copy_context()
        inherited.run(sample.double.delay, 1)

        assert calls() == (1, 0)

    def test_other_brokers(self, sample_of):
        """Elsewhere the block does nothing: what is published in it can be awaited in it."""
        sample = sample_of(broker="memory://", store="memory://shop")
        with (
            start_worker(sample.app, pool="solo", perform_ping_check=False, shutdown_timeout=30),
            pipeline.batch(),
        ):
            assert sample.double.delay(2).get(timeout=30) == 4
            assert publish(sample, 3).get(timeout=30) == [0, 2, 4]
